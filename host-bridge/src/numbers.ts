/**
 * A 64-bit field as a number; NaN when it is no exact integer (2^53 and beyond). protobufjs decodes such fields as Long objects
 * when the `long` package is installed, whatever the generated types say.
 */
export function exactInteger(field: unknown): number {
  const value = Number(field ?? 0);
  return Number.isSafeInteger(value) ? value : Number.NaN;
}
