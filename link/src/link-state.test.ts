import { ZoneError } from "@zone/proto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BACKOFF_MAX_MS, backoffMs, type LinkState, nextLinkState } from "./link-state.js";
import type { Session } from "./session.js";

const error = new ZoneError({ code: "UNAVAILABLE", reason: "X", message: "x" });
const session = {} as Session;
const connecting: LinkState = { kind: "connecting", attempt: 3 };
const ready: LinkState = { kind: "ready", attempt: 3, session, sinceMs: 1000 };
const waiting: LinkState = { kind: "waiting", attempt: 3, delayMs: 1, error };
const closed: LinkState = { kind: "closed" };

describe("nextLinkState", () => {
  const opened = { kind: "opened", session, nowMs: 1000 } as const;
  const failed = { kind: "failed", error, random: 1 } as const;
  const lost = (nowMs: number) => ({ kind: "lost", error, nowMs, random: 1 }) as const;
  const elapsed = { kind: "elapsed" } as const;

  test("follows the edges", () => {
    expect(nextLinkState(connecting, opened)).toEqual(ready);
    expect(nextLinkState(connecting, failed)).toEqual({ kind: "waiting", attempt: 4, delayMs: 160, error });
    expect(nextLinkState(waiting, elapsed)).toEqual({ kind: "connecting", attempt: 3 });
    for (const state of [connecting, ready, waiting, closed])
      expect(nextLinkState(state, { kind: "close" })).toEqual(closed);
  });

  test("starts the backoff over after a session that lasted, and not after one that did not", () => {
    expect(nextLinkState(ready, lost(1000 + BACKOFF_MAX_MS))).toMatchObject({
      kind: "waiting",
      attempt: 1,
      delayMs: 20,
    });
    expect(nextLinkState(ready, lost(1001))).toMatchObject({ kind: "waiting", attempt: 4, delayMs: 160 });
  });

  test("has no other edges", () => {
    const none: [LinkState, Parameters<typeof nextLinkState>[1]][] = [
      [connecting, elapsed],
      [connecting, lost(0)],
      [ready, opened],
      [ready, failed],
      [ready, elapsed],
      [waiting, opened],
      [waiting, failed],
      [waiting, lost(0)],
      [closed, opened],
      [closed, elapsed],
    ];
    for (const [state, event] of none) expect(() => nextLinkState(state, event)).toThrow(state.kind);
  });

  test("the backoff stays within its bounds", () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
        const ms = backoffMs(attempt, random);
        expect(ms).toBeGreaterThanOrEqual(10);
        expect(ms).toBeLessThanOrEqual(BACKOFF_MAX_MS);
      }),
    );
  });
});
