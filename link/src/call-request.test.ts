import fc from "fast-check";
import { expect, test } from "vitest";
import { timeoutHeader } from "./call-request.js";

test("grpc-timeout has at most eight digits, and is never too short", () => {
  const units: Record<string, number> = { m: 1, S: 1000, H: 3_600_000 };
  fc.assert(
    fc.property(fc.double({ min: -1000, max: 3e14, noNaN: true }), (ms) => {
      const [, digits = "", unit = ""] = /^(\d{1,8})([mSH])$/.exec(timeoutHeader(ms)) ?? [];
      const sent = Number(digits) * (units[unit] ?? Number.NaN);
      expect(sent).toBeGreaterThanOrEqual(Math.max(1, ms));
    }),
  );
});
