import { describe, expect, it } from "vitest";
import { type ProcessEvent, type ProcessState, transition } from "./state.js";

const exit = { code: 3, signal: 0, coreDumped: false, oomKilled: false, at: 20 };
const failure = { reason: "EXEC_NOT_FOUND", message: "no", exitCode: 127 };
const ran = { pid: 7, startedAt: 10 };

const states: ProcessState[] = [
  { name: "created" },
  { name: "starting" },
  { name: "running", ...ran },
  { name: "draining", ...ran, exit },
  { name: "exited", ...ran, exit },
  { name: "failed", failure },
];
const events: ProcessEvent[] = [
  { type: "start" },
  { type: "spawned", pid: 7, at: 10 },
  { type: "reaped", exit },
  { type: "drained" },
  { type: "failed", failure },
];
const edges: Record<string, ProcessState> = {
  "created start": { name: "starting" },
  "created failed": { name: "failed", failure },
  "starting spawned": { name: "running", ...ran },
  "starting failed": { name: "failed", failure },
  "running reaped": { name: "draining", ...ran, exit },
  "draining drained": { name: "exited", ...ran, exit },
};

describe("transition", () => {
  for (const state of states) {
    for (const event of events) {
      const expected = edges[`${state.name} ${event.type}`];
      it(`${state.name} + ${event.type} is ${expected?.name ?? "refused"}`, () => {
        if (expected) expect(transition(state, event)).toEqual(expected);
        else expect(() => transition(state, event)).toThrow(`${state.name} cannot take "${event.type}"`);
      });
    }
  }
});
