/**
 * A 64-bit field as a number; 0 when absent. protobufjs decodes such fields as Long objects when the `long` package is
 * there, whatever the generated types say. Offsets and sizes stay far below 2^53.
 */
export function int64(field: unknown): number {
  return Number(field ?? 0);
}
