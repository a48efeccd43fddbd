/** What is remembered of files while an archive is copied: at most so many, with names of at most so many bytes together. */
export class NameMap<Value> {
  readonly #map = new Map<string, Value>();
  readonly #most: number;
  #bytesLeft: number;

  constructor(most: number, bytes: number) {
    this.#most = most;
    this.#bytesLeft = bytes;
  }

  get(key: string): Value | undefined {
    return this.#map.get(key);
  }

  /** Forgets it when there is no room. `name` is what is long of the two: Latin-1, one byte a character. */
  set(key: string, value: Value, name: string): void {
    if (this.#map.has(key)) {
      this.#map.set(key, value);
      return;
    }
    if (this.#map.size >= this.#most || name.length > this.#bytesLeft) return;
    this.#bytesLeft -= name.length;
    this.#map.set(key, value);
  }

  [Symbol.iterator](): IterableIterator<[string, Value]> {
    return this.#map[Symbol.iterator]();
  }
}
