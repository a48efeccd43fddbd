/**
 * JSON with its 64-bit integers as they are: the OCI runtime specification has such (RLIM_INFINITY is 2^64 - 1), and a number
 * of JavaScript's would make another of it. An integer that is not exact as a number is a bigint here.
 */

/** Strings, so that digits in them are passed over; and numbers. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Stands before an integer that travels as a string; U+0000 is in no text that is meant. */
const MARK = "\0integer:";
const MARKED = /"\\u0000integer:(-?\d+)"/g;

/** Throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  const marked = text.replace(TOKEN, (token) => {
    if (!/^-?\d{16,20}$/.test(token) || Number.isSafeInteger(Number(token))) return token;
    return JSON.stringify(MARK + token);
  });
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) && /^-?\d+$/.test(value.slice(MARK.length))
      ? BigInt(value.slice(MARK.length))
      : value,
  );
}

/** The reverse. Throws RangeError for what is nested too deeply. */
export function formatExactJson(value: unknown): string {
  const text = JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? MARK + each : each));
  return text.replace(MARKED, "$1");
}
