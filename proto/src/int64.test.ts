import { expect, test } from "vitest";
import { agent, fromTimestamp, toTimestamp } from "./index.js";

test("64-bit fields are numbers, up to 2^53", () => {
  const offset = Number.MAX_SAFE_INTEGER;
  const { output } = agent.AttachResponse.decode(agent.AttachResponse.encode({ output: { offset } }).finish());
  expect(output?.offset).toBe(offset);
  expect(agent.Output.decode(new Uint8Array()).offset).toBe(0);
});

test("times survive, to the microsecond", () => {
  for (const ms of [0, 1, 1_795_537_529_784.25, -1500]) expect(fromTimestamp(toTimestamp(ms))).toBeCloseTo(ms, 3);
  expect(fromTimestamp(undefined)).toBeUndefined();
});
