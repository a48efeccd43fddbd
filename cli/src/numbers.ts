/** A 64-bit field as a number; 0 when absent. Offsets and sizes stay far below 2^53. */
export function int64(field: number | null | undefined): number {
  return field ?? 0;
}
