import fc from "fast-check";
import { expect, it } from "vitest";
import { zoneMemoryMax } from "./init-limits.js";

const MIB = 1 << 20;

it("a small zone's containers get half of its memory, a large one's nearly all", () => {
  expect(zoneMemoryMax(70 * MIB)).toBe(35 * MIB);
  expect(zoneMemoryMax(224 * MIB)).toBe((224 - 64 - 7) * MIB);
  expect(zoneMemoryMax(4096 * MIB)).toBe((4096 - 64 - 128) * MIB);
});

it("more memory is never less for the containers, nor for the rest", () => {
  const bytes = fc.integer({ min: MIB, max: 2 ** 44 });
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      const [less, more] = a < b ? [a, b] : [b, a];
      expect(zoneMemoryMax(less)).toBeLessThanOrEqual(zoneMemoryMax(more));
      expect(less - zoneMemoryMax(less)).toBeLessThanOrEqual(more - zoneMemoryMax(more));
      expect(Number.isInteger(zoneMemoryMax(more))).toBe(true);
    }),
  );
});
