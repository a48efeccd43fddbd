import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPass, readTap } from "./tap.js";

describe("a TAP report", () => {
  it("is counted", () => {
    const report =
      'TAP version 13\nok 1 - a\nok 2 # SKIP b\nnot ok 3 - c\n  ---\n  {\n    "error": "ok 4"\n  }\n  ...\nnot ok 4 - c\n1..4\n';
    expect(readTap(report, "", 0)).toEqual({ passed: 1, failed: 2, skipped: 1, failures: ["c"], trouble: undefined });
  });

  it("without test points is a pass, unless it tells of an error", () => {
    expect(isPass(readTap("TAP version 13\n1..0\n", "", 0))).toBe(true);
    const wrong = readTap(
      'TAP version 13\n  ---\n  {\n    "error": "exit status 1\\nRefer to"\n  }\n  ...\n1..0\n',
      "",
      0,
    );
    expect(wrong).toMatchObject({ failed: 0, trouble: "exit status 1; Refer to" });
    expect(isPass(wrong)).toBe(false);
  });

  it("is no pass when the program failed, or did not end", () => {
    expect(readTap("ok 1 - a\n1..1\n", "no container\n", 1).trouble).toBe("exit 1: no container");
    expect(readTap("ok 1 - a\n", "", 124).trouble).toBe("it did not end in time");
  });

  it("may be anything", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.integer({ min: 0, max: 255 }), (stdout, stderr, code) => {
        const { passed, failed, skipped } = readTap(stdout, stderr, code);
        expect(passed + failed + skipped).toBeLessThanOrEqual(stdout.split("\n").length);
      }),
    );
  });
});
