import { expect, it } from "vitest";
import { machineRoom } from "./machine-room.js";

it("is the same for all zones of a size, but for those that want more", () => {
  const now = { memoryBytes: 256, vcpus: 1 };
  const usual = { memoryBytes: 1024, vcpus: 8 };
  expect(machineRoom(now, now)).toEqual(usual);
  expect(machineRoom(now, { memoryBytes: 1000, vcpus: 3 })).toEqual(usual);
  expect(machineRoom(now, { memoryBytes: 1025, vcpus: 9 })).toEqual({ memoryBytes: 2048, vcpus: 16 });
  expect(machineRoom({ memoryBytes: 256, vcpus: 12 }, { memoryBytes: 256, vcpus: 12 }).vcpus).toBe(12);
});
