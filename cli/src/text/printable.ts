/**
 * Text that is safe on a terminal: control characters (C0, DEL, C1) as \n, \t, \xNN. What comes from a zone is hostile: an
 * escape sequence in a process name must not reach the user's terminal by way of our tables and messages.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (c) => {
    if (c === "\n") return "\\n";
    if (c === "\t") return "\\t";
    const code = c.charCodeAt(0);
    return code > 0xff ? `\\u${code.toString(16)}` : `\\x${code.toString(16).padStart(2, "0")}`;
  });
}

/** An argument vector as one line, quoted where a shell would need it. */
export function commandLine(argv: readonly Uint8Array[]): string {
  return argv.map((arg) => quoted(Buffer.from(arg).toString())).join(" ");
}

function quoted(arg: string): string {
  if (arg !== "" && /^[\w@%+=:,./~-]+$/.test(arg)) return arg;
  return `'${printable(arg.replaceAll("'", "'\\''"))}'`;
}

/** At most `length` characters, with an ellipsis when some are left out. */
export function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
