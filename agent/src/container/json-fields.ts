/** An object of JSON that somebody else has written. */
export type Fields = Record<string, unknown>;

/** Reads what JSON should hold at `where`; anything else is the error that `refuse` makes. */
export function jsonFields(refuse: (why: string) => Error) {
  return {
    fields(value: unknown, where: string): Fields {
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
      throw refuse(`${where} is no object`);
    },
    /** Absent and null are empty: Go writes both. */
    list(value: unknown, where: string): unknown[] {
      if (value === undefined || value === null) return [];
      if (Array.isArray(value)) return value;
      throw refuse(`${where} is no list`);
    },
  };
}
