import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fromDuration, type Handlers, toTimestamp, type ZonesService, type zone } from "@zone/proto";
import type { Logger } from "pino";
import type { ProgressFn } from "../domains/driver.js";
import { type ReadRecord, readLog } from "../logs/log-reader.js";
import { aborted } from "../zones/ending.js";
import type { EventHub } from "../zones/event-hub.js";
import { checkTarget, checkVolumeName } from "../zones/mount-spec.js";
import { AGENT_LOG, CONSOLE_LOG, MAIN_LOG } from "../zones/running-zone.js";
import { parseSignal } from "../zones/signals.js";
import { DEFAULT_STOP_MS, type Zone } from "../zones/zone.js";
import { type Caller, mayUse, type ZoneTable } from "../zones/zone-table.js";
import { type Send, streamCall, unaryCall } from "./calls.js";
import { sendStats } from "./stats-stream.js";

type LogRecord = zone.bridge.v1.ZoneLogRecord.$Properties;
type ZoneEvent = zone.bridge.v1.ZoneEvent.$Properties;

/** Bytes of output in one message of Logs; a record may be larger. */
const MAX_LOG_MESSAGE_BYTES = 256 * 1024;

/** zone.bridge.v1.Zones, for one caller. */
export function zonesService(
  zones: ZoneTable,
  events: EventHub,
  caller: Caller,
  log: Logger,
): Handlers<typeof ZonesService> {
  const find = (wanted: string) => zones.get(wanted, caller);
  return {
    create: streamCall(log, async ({ spec, zoneId }, send, signal, sendProgress) => {
      const made = await zones.create(spec ?? {}, caller, progressTo(sendProgress), signal, zoneId);
      try {
        await send({ zone: made.message() });
      } catch (thrown) {
        await made.remove(false); // nobody knows of it
        throw thrown;
      }
    }),
    start: streamCall(log, async ({ zone: wanted, holdMain }, send, signal, sendProgress) => {
      const started = find(wanted);
      await started.start(holdMain, progressTo(sendProgress), signal);
      await send({ zone: started.message() });
    }),
    stop: unaryCall(log, async ({ zone: wanted, timeout, signal: name }) => {
      const stopped = find(wanted);
      await stopped.stop(fromDuration(timeout) ?? DEFAULT_STOP_MS, name === "" ? undefined : parseSignal(name));
      return { zone: stopped.message() };
    }),
    delete: unaryCall(log, async ({ zone: wanted, force }) => {
      await find(wanted).remove(force);
      return {};
    }),
    get: unaryCall(log, async ({ zone: wanted }) => ({ zone: find(wanted).message() })),
    list: unaryCall(log, async ({ all }) => ({ zones: zones.list(caller, all).map((each) => each.message()) })),
    pause: unaryCall(log, async ({ zone: wanted }) => {
      const paused = find(wanted);
      await paused.changes.pause();
      return { zone: paused.message() };
    }),
    resume: unaryCall(log, async ({ zone: wanted }) => {
      const resumed = find(wanted);
      await resumed.changes.resume();
      return { zone: resumed.message() };
    }),
    update: unaryCall(log, async ({ zone: wanted, ...asked }) => {
      const updated = find(wanted);
      await zones.update(updated, asked);
      return { zone: updated.message() };
    }),
    stats: streamCall(log, (request, send, signal) => {
      const source = { find, all: () => zones.list(caller, false), contained: zones.contained };
      return sendStats(request, source, send, signal);
    }),
    attachVolume: unaryCall(log, async ({ zone: wanted, volume, target, readOnly }) => {
      const { volume: use, target: at } = checkedVolume(volume, target);
      await find(wanted).changes.attachVolume({ volume: use, target: at, readOnly, noCopy: volume?.noCopy ?? false });
      return {};
    }),
    detachVolume: unaryCall(log, async ({ zone: wanted, volume }) => {
      await find(wanted).changes.detachVolume(volume);
      return {};
    }),
    updateFiles: unaryCall(log, async ({ zone: wanted, target, files }) => {
      await find(wanted).changes.updateFiles(checkTarget(target), files);
      return {};
    }),
    wait: unaryCall(log, async ({ zone: wanted }, signal) => {
      const waited = find(wanted);
      await Promise.race([waited.ended, aborted(signal)]);
      return { zone: waited.message() };
    }),
    watch: streamCall(log, async (_, send: Send<ZoneEvent>, signal) => {
      const changes = events.subscribe(({ ownerUid }) => mayUse(caller, ownerUid), signal);
      await send({ time: toTimestamp(Date.now()) });
      for await (const { change, lost } of changes) {
        await send({ time: toTimestamp(change.time), type: change.type, zone: change.zone, lost });
      }
    }),
    logs: streamCall(log, async ({ zone: wanted, follow, tail, system }, send, signal) => {
      const read = find(wanted);
      if (follow) await Promise.race([read.begun, aborted(signal)]);
      if (system) await sendConsole(read, send);
      const live = system ? read.running?.agentLog : read.running?.mainLog;
      const path = join(read.directory, system ? AGENT_LOG : MAIN_LOG);
      const options = { signal, ...(tail !== undefined && tail !== null && { tail }), ...(follow && live && { live }) };
      for await (const record of readLog(path, options)) {
        for (const message of logMessages(record)) await send(message);
      }
    }),
  };
}

function checkedVolume(volume: zone.bridge.v1.VolumeMount.$Properties | null | undefined, target: string) {
  return { volume: checkVolumeName(volume?.name ?? ""), target: checkTarget(target) };
}

function progressTo(send: (message: { progress: zone.bridge.v1.Progress.$Properties }) => void): ProgressFn {
  return (phase, message, done = 0, total = 0) => send({ progress: { phase, message, done, total } });
}

async function sendConsole(from: Zone, send: Send<LogRecord>): Promise<void> {
  const domain = from.running?.domain;
  const data = domain ? await domain.console() : await readIfThere(join(from.directory, CONSOLE_LOG));
  if (data.length > 0) await send({ time: toTimestamp(Date.now()), stream: "console", data });
}

async function readIfThere(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return Buffer.alloc(0);
    throw thrown;
  }
}

function* logMessages(record: ReadRecord): Generator<LogRecord> {
  const { time, stream, data } = record;
  let { gap } = record;
  if (stream === "agent" && gap > 0) {
    // Records of the agent's log are counted, not its bytes: the loss is told as a record among them.
    const line = JSON.stringify({ level: 40, time, msg: `${gap} records are not kept any more` });
    yield { time: toTimestamp(time), stream, data: Buffer.from(`${line}\n`) };
    gap = 0;
  }
  for (let at = 0; at === 0 || at < data.length; at += MAX_LOG_MESSAGE_BYTES) {
    const piece = data.subarray(at, at + MAX_LOG_MESSAGE_BYTES);
    yield { time: toTimestamp(time), stream, data: piece, gapBytes: at === 0 ? gap : 0 };
  }
}
