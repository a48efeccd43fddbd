import type { ZoneError } from "@zone/proto";
import type { Session } from "./session.js";

/**
 * A link that is kept open.
 *
 * connecting --opened--> ready        connecting --failed--> waiting
 * ready --lost--> waiting             waiting --elapsed--> connecting
 * connecting, ready, waiting --close--> closed
 *
 * `attempt` counts the failures in a row.
 */
export type LinkState =
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "ready"; readonly attempt: number; readonly session: Session; readonly sinceMs: number }
  | { readonly kind: "waiting"; readonly attempt: number; readonly delayMs: number; readonly error: ZoneError }
  | { readonly kind: "closed" };

export type LinkEvent =
  | { readonly kind: "opened"; readonly session: Session; readonly nowMs: number }
  | { readonly kind: "failed"; readonly error: ZoneError; readonly random: number }
  | { readonly kind: "lost"; readonly error: ZoneError; readonly nowMs: number; readonly random: number }
  | { readonly kind: "elapsed" }
  | { readonly kind: "close" };

const BACKOFF_MIN_MS = 20;
export const BACKOFF_MAX_MS = 2000;

/** 20 ms, doubled by each failure up to 2 s; of that, between the half and the whole. `random`: 0 to 1. */
export function backoffMs(attempt: number, random: number): number {
  return Math.min(BACKOFF_MIN_MS * 2 ** attempt, BACKOFF_MAX_MS) * (0.5 + random / 2);
}

/** The only way from one state to the next. An event that the state has no edge for throws. */
export function nextLinkState(state: LinkState, event: LinkEvent): LinkState {
  if (event.kind === "close") return { kind: "closed" };
  switch (state.kind) {
    case "connecting":
      if (event.kind === "opened") {
        return { kind: "ready", attempt: state.attempt, session: event.session, sinceMs: event.nowMs };
      }
      if (event.kind === "failed") return waiting(state.attempt, event.error, event.random);
      break;
    case "ready":
      if (event.kind === "lost") {
        // A session that ends as soon as it begins is a failure too.
        const lasted = event.nowMs - state.sinceMs >= BACKOFF_MAX_MS;
        return waiting(lasted ? 0 : state.attempt, event.error, event.random);
      }
      break;
    case "waiting":
      if (event.kind === "elapsed") return { kind: "connecting", attempt: state.attempt };
      break;
    case "closed":
      break;
  }
  throw new Error(`a link that is ${state.kind} cannot be ${event.kind}`);
}

function waiting(attempt: number, error: ZoneError, random: number): LinkState {
  return { kind: "waiting", attempt: attempt + 1, delayMs: backoffMs(attempt, random), error };
}
