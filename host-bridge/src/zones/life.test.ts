import { describe, expect, it } from "vitest";
import type { DomainRecord } from "../domains/driver.js";
import { exitCodeOf, type Life, type LifeEvent, transition } from "./life.js";

const domain: DomainRecord = {
  driver: "test",
  pid: 7,
  pidStartTime: "1",
  accelerator: "none",
  directory: "/d",
  link: "unix:/d/agent.sock",
  uid: 0,
};
const timings = { domainStarted: 1, agentReady: 2, mainStarted: 3 };
const run = { domain, startedAt: 5, timings };
const exit = { code: 3, signal: 0 };
const end = { type: "ended", endedAt: 9, cause: "exited", message: "", exitCode: 3 } as const;

const lives: Record<string, Life> = {
  created: { state: "created" },
  starting: { state: "starting" },
  "starting with a domain": { state: "starting", domain },
  running: { state: "running", ...run },
  paused: { state: "paused", ...run },
  "stopping for a client": { state: "stopping", by: "client", ...run },
  "stopping after its exit": { state: "stopping", by: "main", exit, ...run },
  ended: { state: "ended", endedAt: 9, cause: "exited", message: "", exitCode: 3 },
};
const events: Record<LifeEvent["type"], LifeEvent> = {
  start: { type: "start" },
  "domain-made": { type: "domain-made", domain },
  "main-started": { type: "main-started", startedAt: 5, timings },
  paused: { type: "paused" },
  resumed: { type: "resumed" },
  "main-exited": { type: "main-exited", exit },
  "stop-asked": { type: "stop-asked" },
  ended: end,
};
/** Every allowed edge; all others throw. */
const edges: Record<string, Partial<Record<LifeEvent["type"], Life>>> = {
  created: { start: { state: "starting" } },
  starting: {
    "domain-made": { state: "starting", domain },
    ended: { state: "ended", endedAt: 9, cause: "exited", message: "", exitCode: 3 },
  },
  "starting with a domain": {
    "main-started": { state: "running", ...run },
    ended: { state: "ended", endedAt: 9, cause: "exited", message: "", exitCode: 3 },
  },
  paused: {
    resumed: { state: "running", ...run },
    "main-exited": { state: "stopping", by: "main", exit, ...run },
    "stop-asked": { state: "stopping", by: "client", ...run },
    ended: { state: "ended", startedAt: 5, timings, endedAt: 9, cause: "exited", message: "", exitCode: 3 },
  },
  running: {
    paused: { state: "paused", ...run },
    "main-exited": { state: "stopping", by: "main", exit, ...run },
    "stop-asked": { state: "stopping", by: "client", ...run },
    ended: { state: "ended", startedAt: 5, timings, endedAt: 9, cause: "exited", message: "", exitCode: 3 },
  },
  "stopping for a client": {
    "main-exited": { state: "stopping", by: "client", exit, ...run },
    "stop-asked": { state: "stopping", by: "client", ...run },
    ended: { state: "ended", startedAt: 5, timings, endedAt: 9, cause: "exited", message: "", exitCode: 3 },
  },
  "stopping after its exit": {
    "stop-asked": { state: "stopping", by: "main", exit, ...run },
    ended: { state: "ended", startedAt: 5, timings, endedAt: 9, cause: "exited", message: "", exitCode: 3 },
  },
  ended: {},
};

describe("the life of a zone", () => {
  for (const [name, life] of Object.entries(lives)) {
    for (const [type, event] of Object.entries(events) as [LifeEvent["type"], LifeEvent][]) {
      const expected = edges[name]?.[type];
      it(`${name} ${expected ? "takes" : "refuses"} ${type}`, () => {
        if (expected) expect(transition(life, event)).toEqual(expected);
        else expect(() => transition(life, event)).toThrow(/cannot take/);
      });
    }
  }

  it("keeps the time until which a main process is held", () => {
    const held = transition(
      { state: "starting", domain },
      { type: "main-started", startedAt: 5, timings, heldUntil: 65 },
    );
    expect(held).toEqual({ state: "running", ...run, heldUntil: 65 });
  });

  it("says exit codes as a shell does", () => {
    expect(exitCodeOf({ code: 3, signal: 0 })).toBe(3);
    expect(exitCodeOf({ code: 0, signal: 9 })).toBe(137);
  });
});
