/** A 64-bit field as a number; NaN when it is no exact integer (2^53 and beyond). */
export function exactInteger(field: number | null | undefined): number {
  const value = field ?? 0;
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** A 64-bit size that was asked for; one that is no exact integer is more than there can be. */
export function sizeOf(field: number | null | undefined): number {
  const size = exactInteger(field);
  return Number.isNaN(size) ? Number.POSITIVE_INFINITY : size;
}
