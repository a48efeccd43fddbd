import { describe, expect, test } from "vitest";
import { FrameScanner } from "./frame-scanner.js";
import type { Frame } from "./frames.js";
import {
  type AgentContext,
  type AgentState,
  agentStep,
  bridgeGreets,
  bridgeStep,
  kernelNonce,
  OUR_VERSIONS,
  type Step,
  WAITING,
} from "./handshake.js";

const nonce = (fill: number) => Buffer.alloc(32, fill);
const hello = (fill: number, more: Partial<Extract<Frame, { type: "hello" }>> = {}): Frame => ({
  type: "hello",
  min: 1,
  max: 1,
  purpose: "session",
  nonce: nonce(fill),
  zoneId: "web",
  ...more,
});

function context(versions = OUR_VERSIONS): AgentContext {
  let next = 100;
  return {
    identity: () => ({ zoneId: "web", bootId: "boot", agentVersion: "1.2.3" }),
    nonce: () => nonce(next++),
    versions,
  };
}

function sent(step: Step<unknown>): Frame | undefined {
  const scanner = new FrameScanner();
  if (step.send) scanner.push(step.send);
  return scanner.next();
}

describe("the agent", () => {
  const agent = context();

  test("answers a hello, and opens on the confirmation of its newest answer only", () => {
    const first = agentStep(WAITING, hello(1), agent);
    expect(sent(first)).toMatchObject({ type: "ack", version: 1, echo: nonce(1), nonce: nonce(100), zoneId: "web" });
    const second = agentStep(first.state, hello(2), agent);
    expect(sent(second)).toMatchObject({ type: "ack", echo: nonce(2), nonce: nonce(101) });
    const stale = agentStep(second.state, { type: "confirm", echo: nonce(100) }, agent);
    expect(stale).toEqual({ state: second.state });
    const opened = agentStep(second.state, { type: "confirm", echo: nonce(101) }, agent);
    expect(opened).toEqual({ state: { kind: "open", version: 1, zoneId: "web" } });
    expect(() => agentStep(opened.state, hello(3), agent)).toThrow("open");
  });

  test("says nothing twice to a hello that is said again", () => {
    const { state } = agentStep(WAITING, hello(1), agent);
    expect(agentStep(state, hello(1), agent)).toEqual({ state });
  });

  test("answers a probe and goes on waiting, also in the middle of a handshake", () => {
    const { state } = agentStep(WAITING, hello(1), agent);
    for (const from of [WAITING, state]) {
      const step = agentStep(from, hello(9, { purpose: "probe" }), agent);
      expect(sent(step)?.type).toBe("ack");
      expect(step.state).toEqual(WAITING);
    }
  });

  test("forgets a hello that is not confirmed in time", () => {
    const { state } = agentStep(WAITING, hello(1), agent);
    expect(agentStep(state, { type: "expired" }, agent)).toEqual({ state: WAITING });
  });

  test("takes no notice of what only an agent says, and of a confirmation without a hello", () => {
    const { state } = agentStep(WAITING, hello(1), agent);
    const strange: Frame[] = [
      { type: "ready" },
      { type: "reject", echo: nonce(1), min: 1, max: 1 },
      { type: "ack", version: 1, echo: nonce(1), nonce: nonce(2), zoneId: "", bootId: "", agentVersion: "" },
    ];
    for (const from of [WAITING, state] as AgentState[]) {
      for (const frame of strange) expect(agentStep(from, frame, agent)).toEqual({ state: from });
    }
    expect(agentStep(WAITING, { type: "confirm", echo: nonce(1) }, agent)).toEqual({ state: WAITING });
  });

  const table: [string, { min: number; max: number }, { min: number; max: number }, number | undefined][] = [
    ["the same", { min: 1, max: 1 }, { min: 1, max: 1 }, 1],
    ["a newer agent", { min: 1, max: 2 }, { min: 2, max: 5 }, 2],
    ["a newer bridge", { min: 2, max: 5 }, { min: 1, max: 3 }, 3],
    ["a range within the other", { min: 1, max: 9 }, { min: 4, max: 4 }, 4],
    ["a bridge too old", { min: 1, max: 2 }, { min: 3, max: 4 }, undefined],
    ["an agent too old", { min: 3, max: 4 }, { min: 1, max: 2 }, undefined],
  ];
  test.each(table)("negotiates: %s", (_name, bridge, versions, version) => {
    const step = agentStep(WAITING, hello(1, bridge), context(versions));
    if (version === undefined) {
      expect(sent(step)).toEqual({ type: "reject", echo: nonce(1), ...versions });
      expect(step.state).toEqual(WAITING);
    } else expect(sent(step)).toMatchObject({ type: "ack", version });
  });
});

describe("the bridge", () => {
  const ack = (more: Partial<Extract<Frame, { type: "ack" }>> = {}): Frame => ({
    type: "ack",
    version: 1,
    echo: nonce(1),
    nonce: nonce(2),
    zoneId: "web",
    bootId: "boot",
    agentVersion: "1",
    ...more,
  });
  const greeting = (zoneId = "web", purpose: "session" | "probe" = "session") =>
    bridgeGreets(purpose, zoneId, nonce(1)).state;

  test("confirms the answer to its own hello, and no other", () => {
    expect(bridgeStep(greeting(), ack({ echo: nonce(7) }))).toEqual({ state: greeting() });
    const step = bridgeStep(greeting(), ack());
    expect(step.state).toMatchObject({ kind: "accepted", agent: { version: 1, zoneId: "web", bootId: "boot" } });
    expect(sent(step)).toEqual({ type: "confirm", echo: nonce(2) });
    expect(() => bridgeStep(step.state, ack())).toThrow("accepted");
  });

  test("does not confirm a probe", () => {
    const step = bridgeStep(greeting("web", "probe"), ack());
    expect(step.state.kind).toBe("accepted");
    expect(step.send).toBeUndefined();
  });

  test("says its hello again to an agent that has just started, once", () => {
    const step = bridgeStep(greeting(), { type: "ready" });
    expect(sent(step)).toMatchObject({ type: "hello", nonce: nonce(1) });
    expect(bridgeStep(step.state, { type: "ready" })).toEqual({ state: step.state });
  });

  test("refuses another zone, but not one that has no id yet, nor when it has none itself", () => {
    expect(bridgeStep(greeting("db"), ack()).state).toMatchObject({
      kind: "refused",
      error: { reason: "ZONE_MISMATCH" },
    });
    expect(bridgeStep(greeting("db"), ack({ zoneId: "" })).state.kind).toBe("accepted");
    expect(bridgeStep(greeting(""), ack()).state.kind).toBe("accepted");
  });

  test("refuses a version that it does not speak, and says which side to upgrade", () => {
    const state = bridgeStep(greeting(), { type: "reject", echo: nonce(1), min: 2, max: 3 }).state;
    expect(state).toMatchObject({ kind: "refused", error: { reason: "VERSION_MISMATCH" } });
    if (state.kind === "refused") expect(state.error.message).toContain("upgrade the bridge");
    const stale = bridgeStep(greeting(), { type: "reject", echo: nonce(5), min: 2, max: 3 });
    expect(stale.state.kind).toBe("greeting");
    expect(bridgeStep(greeting(), ack({ version: 9 })).state.kind).toBe("refused");
  });

  test("takes no notice of its own frames", () => {
    expect(bridgeStep(greeting(), hello(1)).send).toBeUndefined();
    expect(bridgeStep(greeting(), { type: "confirm", echo: nonce(1) }).send).toBeUndefined();
  });
});

test("the kernel's nonces differ", () => {
  const seen = new Set([...Array(50)].map(() => kernelNonce().toString("hex")));
  expect(seen.size).toBe(50);
  expect(kernelNonce().length).toBe(32);
});
