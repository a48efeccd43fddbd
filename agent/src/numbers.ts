/**
 * A uint64 or int64 field as a number: 0 when absent, undefined when it is no exact integer (2^53 and beyond).
 * protobufjs decodes such fields as Long objects when the `long` package is installed, whatever the types say.
 */
export function exactInteger(field: unknown): number | undefined {
  const value = Number(field ?? 0);
  return Number.isSafeInteger(value) ? value : undefined;
}
