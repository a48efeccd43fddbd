/** A 64-bit field as a number: 0 when absent, undefined when it is no exact integer (2^53 and beyond). */
export function exactInteger(field: number | null | undefined): number | undefined {
  const value = field ?? 0;
  return Number.isSafeInteger(value) ? value : undefined;
}
