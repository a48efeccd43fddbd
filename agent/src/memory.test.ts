import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import { collectGarbage, IdleCollector } from "./memory.js";

it("collects once, in the quiet after a burst", async () => {
  let collected = 0;
  const collector = new IdleCollector(() => collected++, 5);
  for (let i = 0; i < 63; i++) collector.processEnded();
  await setTimeout(50);
  expect(collected).toBe(0);
  for (let i = 0; i < 10; i++) collector.processEnded();
  await expect.poll(() => collected).toBe(1);
  await setTimeout(50);
  expect(collected).toBe(1);
});

it("collects what nobody holds", async () => {
  const weak = new WeakRef({ big: new Array(1000).fill(0) });
  await setTimeout(0); // a WeakRef holds its target until the end of the turn in which it was made
  collectGarbage();
  expect(weak.deref()).toBeUndefined();
});
