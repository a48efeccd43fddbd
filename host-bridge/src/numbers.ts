/** A 64-bit field as a number; NaN when it is no exact integer (2^53 and beyond). */
export function exactInteger(field: number | null | undefined): number {
  const value = field ?? 0;
  return Number.isSafeInteger(value) ? value : Number.NaN;
}
