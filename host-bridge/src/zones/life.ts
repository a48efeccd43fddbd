import type { DomainRecord } from "../domains/driver.js";

/** How the main process ended; one of the two is 0. */
export interface MainExit {
  code: number;
  signal: number;
  /** The kernel killed it, or another process of its container, for want of memory. */
  oomKilled?: boolean;
}

/** Why a zone ended; zone.bridge.v1.EndCause. */
export type EndCause = "exited" | "stopped" | "panic" | "lost" | "start-failed";

/** How a zone ended. */
export interface ZoneEnd {
  cause: EndCause;
  /** For people; may be empty. */
  message: string;
  /** zone.bridge.v1.Zone.exit_code. */
  exitCode: number;
}

/** Milliseconds from the Start call. */
export interface Timings {
  domainStarted: number;
  agentReady: number;
  mainStarted: number;
}

/** What is known of a zone once its main process has been asked for. Times are milliseconds since 1970. */
interface Run {
  domain: DomainRecord;
  startedAt: number;
  timings: Timings;
  /** The main process waits for a client until then. */
  heldUntil?: number;
}

/** What ends a zone on purpose: its own main process, or a client. */
export type EndedBy = "main" | "client";

/**
 * The life of a zone, as it is stored.
 *
 *   created --start--> starting --domain-made--> starting --main-started--> running
 *   running --paused--> paused --resumed--> running
 *   running | paused --main-exited | stop-asked--> stopping --main-exited | stop-asked--> stopping
 *   starting | running | paused | stopping --ended--> ended        created --ended--> (never: it is removed)
 *
 * "paused" is a zone whose domain stands still. Whoever ends one in order resumes it first; it is ended as it is with force.
 * "stopping" with an `exit` is a zone whose main process has ended and whose domain has not yet.
 */
export type Life =
  | { state: "created" }
  | { state: "starting"; domain?: DomainRecord }
  | ({ state: "running" } & Run)
  | ({ state: "paused" } & Run)
  | ({ state: "stopping"; by: EndedBy; exit?: MainExit } & Run)
  | ({
      state: "ended";
      startedAt?: number;
      timings?: Timings;
      endedAt: number;
    } & ZoneEnd);

export type LifeEvent =
  | { type: "start" }
  | { type: "domain-made"; domain: DomainRecord }
  | { type: "main-started"; startedAt: number; timings: Timings; heldUntil?: number }
  | { type: "paused" }
  | { type: "resumed" }
  | { type: "main-exited"; exit: MainExit }
  | { type: "stop-asked" }
  | ({ type: "ended"; endedAt: number } & ZoneEnd);

/** The one place where a zone's state changes. Throws on an event that the state does not allow: that is a defect. */
export function transition(life: Life, event: LifeEvent): Life {
  switch (event.type) {
    case "start":
      if (life.state === "created") return { state: "starting" };
      break;
    case "domain-made":
      if (life.state === "starting" && !life.domain) return { state: "starting", domain: event.domain };
      break;
    case "main-started":
      if (life.state === "starting" && life.domain) {
        const { type: _, ...run } = event;
        return { state: "running", domain: life.domain, ...run };
      }
      break;
    case "paused":
      if (life.state === "running") return { ...life, state: "paused" };
      break;
    case "resumed":
      if (life.state === "paused") return { ...life, state: "running" };
      break;
    case "main-exited":
      if (life.state === "running" || life.state === "paused")
        return { ...life, state: "stopping", by: "main", exit: event.exit };
      if (life.state === "stopping" && !life.exit) return { ...life, exit: event.exit };
      break;
    case "stop-asked":
      if (life.state === "running" || life.state === "paused") return { ...life, state: "stopping", by: "client" };
      if (life.state === "stopping") return life;
      break;
    case "ended":
      if (life.state !== "created" && life.state !== "ended") {
        const { type: _, ...end } = event;
        const ran = life.state === "starting" ? {} : { startedAt: life.startedAt, timings: life.timings };
        return { state: "ended", ...ran, ...end };
      }
      break;
  }
  throw new Error(`a zone that is ${life.state} cannot take "${event.type}"`);
}

/** Why calls to a zone in this state fail, for people. */
export function whyNotRunning(life: Life): string {
  switch (life.state) {
    case "created":
      return "it has not been started";
    case "starting":
      return "it is still being started";
    case "paused":
      return "it is paused";
    case "running":
    case "stopping":
      return "it is being let go of";
    case "ended":
      return `it has ended (${life.message ? `${life.cause}: ${life.message}` : life.cause})`;
  }
}

/** What a shell would say: the code, or 128 and the signal. */
export function exitCodeOf(exit: MainExit): number {
  return exit.signal > 0 ? 128 + exit.signal : exit.code;
}

/** The exit code of a zone that has no exit of its own. */
export const NO_EXIT_CODE = 125;
