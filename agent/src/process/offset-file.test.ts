import { mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LIMITS } from "../limits.js";
import { OffsetFile, type StdioStream } from "./offset-file.js";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zone-offsets-"));
  path = join(directory, "run", "offsets");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const STREAMS: StdioStream[] = ["stdin", "stdout", "stderr"];
const step = fc.oneof(
  fc.record({
    kind: fc.constant("set" as const),
    token: fc.bigInt({ min: 1n, max: 5n }),
    stream: fc.constantFrom(...STREAMS),
    offset: fc.maxSafeNat(),
  }),
  fc.record({ kind: fc.constant("delete" as const), token: fc.bigInt({ min: 1n, max: 5n }) }),
  fc.constant({ kind: "restart" as const }),
);

describe("OffsetFile", () => {
  it("says after any restarts what was said before", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        rmSync(path, { force: true });
        let file = new OffsetFile(path);
        const model = new Map<bigint, Record<StdioStream, number>>();
        for (const action of steps) {
          if (action.kind === "restart") {
            file.close();
            file = new OffsetFile(path);
          } else if (action.kind === "delete") {
            file.delete(action.token);
            model.delete(action.token);
          } else {
            file.set(action.token, action.stream, action.offset);
            const offsets = model.get(action.token) ?? { stdin: 0, stdout: 0, stderr: 0 };
            model.set(action.token, { ...offsets, [action.stream]: action.offset });
          }
          for (let token = 1n; token <= 5n; token++) {
            for (const stream of STREAMS) expect(file.get(token, stream)).toBe(model.get(token)?.[stream] ?? 0);
          }
        }
        file.close();
      }),
      { numRuns: 50 },
    );
  });

  it("has room for every process, and its full size from the beginning", () => {
    const file = new OffsetFile(path);
    const size = statSync(path).size;
    for (let token = 1n; token <= LIMITS.processes; token++) file.set(token, "stdout", 1);
    expect(() => file.set(1_000_000n, "stdout", 1)).toThrow("more than");
    file.keepOnly(new Set([7n]));
    file.set(1_000_000n, "stdout", 2);
    expect([file.get(7n, "stdout"), file.get(8n, "stdout"), file.get(1_000_000n, "stdout")]).toEqual([1, 0, 2]);
    expect(statSync(path).size).toBe(size);
    file.close();
  });

  it("mends a file that is too short", () => {
    new OffsetFile(path).close();
    truncateSync(path, 33);
    const file = new OffsetFile(path);
    file.set(1n, "stderr", 5);
    expect(file.get(1n, "stderr")).toBe(5);
    file.close();
  });
});
