import { PROTOCOL_MAX, PROTOCOL_MIN } from "@zone/link";
import { addEntropy, syncAllAsync } from "@zone/native";
import { type Handlers, type SystemService, toTimestamp, type zone } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import { streamHandler, unaryHandler } from "../handlers.js";
import { LIMITS } from "../limits.js";
import { exactInteger } from "../numbers.js";
import type { EventHub } from "./event-hub.js";
import { adjustClock, checkEntropy, checkRenewal, checkTime, type Identity, type Renewal } from "./identity.js";
import { zoneFigures } from "./info.js";
import type { LogRing } from "./log-ring.js";
import { bringOnline } from "./online.js";
import { writeFrom } from "./stream-writer.js";
import { toEventMessage, type ZoneEvent } from "./zone-event.js";

/** What the service needs of the agent. */
export interface SystemParts {
  agentVersion: string;
  imageVersion: string;
  /** Of the agent, since the zone's boot. */
  restarts: number;
  /** Milliseconds from the kernel's start. */
  startup(): { initStartedMs: number; agentReadyMs: number };
  identity(): Identity;
  renew(renewal: Renewal): number;
  events: EventHub<ZoneEvent>;
  logs: LogRing;
  /** The zone has so much memory now. */
  memoryChanged(totalBytes: number): void;
  powerOff(graceMs: number): void;
}

const FEATURES = ["process", "container", "mount", "cgroup", "network", "file", "renew", "online", "events", "logs"];

const ONLINE_PATHS = { system: "/sys/devices/system", meminfo: "/proc/meminfo" };

/** zone.agent.v1.System. */
export function systemService(parts: SystemParts): Handlers<typeof SystemService> {
  return {
    info: unaryHandler((request) => info(parts, request.brief)),
    setTime: unaryHandler((request) => ({ adjustedMs: adjustClock(checkTime(request.time)) })),
    addEntropy: unaryHandler((request) => {
      addEntropy(checkEntropy(request.entropy));
      return {};
    }),
    renew: unaryHandler((request) => ({ clockAdjustedMs: parts.renew(checkRenewal(request)) })),
    events: streamHandler((call) => {
      const { subscription, sequence, at } = parts.events.subscribe();
      call.write({ sequence, time: toTimestamp(at), subscribed: {} });
      const next = () => {
        const delivery = subscription.next();
        return delivery && toEventMessage(delivery);
      };
      return writeFrom(call, next, (wake) => {
        subscription.onEvent = wake;
        return () => subscription.end();
      });
    }),
    logs: streamHandler((call) => {
      const { follow } = call.request;
      let cursor = logCursor(call.request.cursor, parts.logs);
      const next = () => {
        const found = parts.logs.from(cursor);
        if (!found) return follow ? undefined : ("end" as const);
        cursor = found.record.cursor + 1;
        return { ...found.record, lost: found.lost };
      };
      return writeFrom(call, next, (wake) => parts.logs.follow(wake));
    }),
    online: unaryHandler(async (request, signal) => {
      const { default: usual, max } = LIMITS.onlineWaitMs;
      const memoryTotalBytes = exactInteger(request.memoryBytes);
      const waitMs = request.waitMs || usual;
      if (memoryTotalBytes === undefined || waitMs > max)
        throw invalid("INVALID_SIZE", `memory_bytes is ${request.memoryBytes}, wait_ms is ${waitMs} (at most ${max})`);
      const now = await bringOnline({ cpus: request.cpus, memoryTotalBytes }, waitMs, ONLINE_PATHS, signal);
      parts.memoryChanged(now.memoryTotalBytes);
      return now;
    }),
    sync: unaryHandler(async () => {
      await syncAllAsync();
      return {};
    }),
    shutdown: unaryHandler((request) => {
      const { default: usual, max } = LIMITS.shutdownGraceMs;
      const graceMs = request.graceMs || usual;
      if (graceMs > max) throw invalid("INVALID_TIME", `grace_ms is ${graceMs}; at most ${max} are allowed`);
      parts.events.publish({ shuttingDown: { cause: "shutdown was asked for" } });
      // The answer first: it leaves in this turn of the event loop, the end of the zone begins in a later one.
      setTimeout(() => parts.powerOff(graceMs), SHUTDOWN_DELAY_MS);
      return {};
    }),
  };
}

/** Time for the answer to cross a slow link. */
const SHUTDOWN_DELAY_MS = 50;

function logCursor(field: number | null | undefined, logs: LogRing): number {
  const cursor = exactInteger(field);
  if (cursor !== undefined && cursor <= logs.next) return cursor;
  throw agentError(
    "OUT_OF_RANGE",
    "CURSOR_TOO_OLD",
    `cursor ${field} is not of this log, which is at ${logs.next}: the agent was restarted; begin again at 0`,
  );
}

function info(parts: SystemParts, brief: boolean): zone.agent.v1.InfoResponse.$Properties {
  return {
    ...zoneFigures(brief),
    ...parts.identity(),
    ...parts.startup(),
    agentVersion: parts.agentVersion,
    imageVersion: parts.imageVersion,
    agentRestarts: parts.restarts,
    protocolMin: PROTOCOL_MIN,
    protocolMax: PROTOCOL_MAX,
    time: toTimestamp(Date.now()),
    features: FEATURES,
  };
}
