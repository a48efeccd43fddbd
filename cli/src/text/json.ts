import { fromDuration, fromTimestamp, type google } from "@zone/proto";
import { type agent, api } from "../messages.js";
import { int64 } from "../numbers.js";

// The JSON that zonectl prints. Its shape is an interface for scripts (docs/zonectl.md): names are only added.

type Json = Record<string, unknown>;

/** Bytes as text when they are UTF-8, else as `{"base64": "..."}`: a script can tell, and nothing is changed silently. */
export function bytesToJson(bytes: Uint8Array): string | { base64: string } {
  const buffer = Buffer.from(bytes);
  const text = buffer.toString();
  return Buffer.from(text).equals(buffer) ? text : { base64: buffer.toString("base64") };
}

/** ISO 8601, or null. */
function time(value: google.protobuf.Timestamp.$Properties | null | undefined): string | null {
  const ms = fromTimestamp(value);
  return ms === undefined ? null : new Date(ms).toISOString();
}

/** The name of an enum's value without its prefix, in lower case: "running". */
export function enumName(names: Record<number, string>, prefix: string, value: number | null | undefined): string {
  return (names[value ?? 0] ?? "UNKNOWN").replace(prefix, "").toLowerCase().replaceAll("_", "-");
}

export function stateName(zone: api.Zone.$Properties): string {
  return enumName(api.ZoneState, "ZONE_STATE_", zone.state);
}

export function zoneToJson(zone: api.Zone.$Properties): Json {
  const spec = zone.spec ?? {};
  const isEnded = zone.state === api.ZoneState.ZONE_STATE_ENDED;
  return {
    id: zone.id,
    name: spec.name,
    image: spec.image,
    imageDigest: zone.imageDigest,
    state: stateName(zone),
    command: (zone.argv ?? []).map(bytesToJson),
    exitCode: isEnded ? (zone.exitCode ?? 0) : null,
    endCause: isEnded ? enumName(api.EndCause, "END_CAUSE_", zone.endCause) : null,
    endMessage: zone.endMessage || null,
    createdAt: time(zone.createdAt),
    startedAt: time(zone.startedAt),
    endedAt: time(zone.endedAt),
    labels: spec.labels ?? {},
    memoryBytes: int64(spec.memoryBytes),
    cpuMillis: spec.cpuMillis,
    linkUp: zone.linkUp ?? false,
  };
}

/** All that is known of a zone: what `inspect` shows. */
export function zoneDetailsToJson(zone: api.Zone.$Properties): Json {
  const spec = zone.spec ?? {};
  return {
    ...zoneToJson(zone),
    config: {
      entrypoint: spec.entrypoint ? (spec.entrypoint.argv ?? []).map(bytesToJson) : null,
      command: (spec.command ?? []).map(bytesToJson),
      env: (spec.env ?? []).map(bytesToJson),
      cwd: spec.cwd || null,
      user: spec.user || null,
      hostname: spec.hostname || spec.name,
      tty: spec.tty ?? false,
      stdin: spec.stdin ?? false,
      readOnly: spec.readOnly ?? false,
      autoRemove: spec.autoRemove ?? false,
      stopSignal: spec.stopSignal || null,
      bootMode: spec.bootMode === api.BootMode.BOOT_MODE_COLD ? "cold" : "template",
    },
    domain: {
      driver: zone.driver || null,
      accelerator: zone.accelerator || null,
      vmmPid: zone.vmmPid || null,
      link: zone.link || null,
      kernelRelease: zone.kernelRelease || null,
      agentVersion: zone.agentVersion || null,
      machineId: zone.machineId || null,
      vcpus: zone.vcpus || null,
    },
    ports: (zone.ports ?? []).map(portToJson),
    mounts: (spec.mounts ?? []).map(mountToJson),
    oomKilled: zone.oomKilled ?? false,
    timings: {
      domainStartedMs: fromDuration(zone.domainStartedAfter) ?? null,
      agentReadyMs: fromDuration(zone.agentReadyAfter) ?? null,
      mainStartedMs: fromDuration(zone.mainStartedAfter) ?? null,
    },
  };
}

function portToJson(port: api.PortMapping.$Properties): Json {
  return {
    hostAddress: port.hostPath ? null : port.hostAddress || "127.0.0.1",
    hostPort: port.hostPort || null,
    hostPath: port.hostPath || null,
    zonePort: port.zonePort || null,
    zonePath: port.zonePath || null,
  };
}

function mountToJson({ target, readOnly, host, volume, tmpfs }: api.ZoneMount.$Properties): Json {
  const source = { type: "files", source: null as string | null };
  if (host) Object.assign(source, { type: "host", source: host.path });
  if (volume) Object.assign(source, { type: "volume", source: volume.name });
  if (tmpfs) source.type = "tmpfs";
  return { ...source, target, readOnly: readOnly ?? false };
}

export function imageToJson(image: api.Image.$Properties): Json {
  return {
    references: image.references ?? [],
    digest: image.digest,
    sizeBytes: int64(image.sizeBytes),
    pulledAt: time(image.pulledAt),
    entrypoint: image.entrypoint ?? [],
    cmd: image.cmd ?? [],
    env: image.env ?? [],
    user: image.user || null,
    workingDir: image.workingDir || null,
    stopSignal: image.stopSignal || null,
    architecture: image.architecture,
  };
}

export function taskToJson(task: agent.RunningTask.$Properties): Json {
  return {
    pid: task.containerPid,
    zonePid: task.pid,
    zonePpid: task.ppid,
    uid: task.uid,
    state: task.state,
    cpuMs: int64(task.cpuMs),
    rssKib: int64(task.rssKib),
    startedAt: time(task.startedAt),
    command: bytesToJson(task.command ?? new Uint8Array()),
  };
}

export function checkToJson(check: api.Check.$Properties): Json {
  return {
    name: check.name,
    result: enumName(api.Check.Result, "RESULT_", check.result),
    message: check.message,
    advice: check.advice || null,
  };
}

export function eventToJson(event: api.ZoneEvent.$Properties): Json {
  const zone = event.zone;
  return { time: time(event.time), type: event.type, zone: zone ? zoneToJson(zone) : null, lost: int64(event.lost) };
}

export function volumeToJson(volume: api.Volume.$Properties): Json {
  return {
    name: volume.name,
    sizeBytes: int64(volume.sizeBytes),
    allocatedBytes: int64(volume.allocatedBytes),
    createdAt: time(volume.createdAt),
    zoneId: volume.zoneId || null,
    labels: volume.labels ?? {},
  };
}

export function statsToJson(stats: api.ZoneStats.$Properties): Json {
  return {
    zoneId: stats.zoneId,
    name: stats.name,
    time: time(stats.time),
    paused: stats.paused ?? false,
    message: stats.message || null,
    cpuUs: int64(stats.cpuUs),
    vcpus: stats.vcpus ?? 0,
    memoryBytes: int64(stats.memoryBytes),
    memoryLimitBytes: int64(stats.memoryLimitBytes),
    zoneMemoryTotalBytes: int64(stats.zoneMemoryTotalBytes),
    zoneMemoryAvailableBytes: int64(stats.zoneMemoryAvailableBytes),
    pids: int64(stats.pids),
    oomKills: int64(stats.oomKills),
    networkReceivedBytes: int64(stats.networkReceivedBytes),
    networkSentBytes: int64(stats.networkSentBytes),
    diskReadBytes: int64(stats.diskReadBytes),
    diskWrittenBytes: int64(stats.diskWrittenBytes),
    vmmCpuUs: int64(stats.vmmCpuUs),
    vmmPssBytes: int64(stats.vmmPssBytes),
    vmmPrivateBytes: int64(stats.vmmPrivateBytes),
  };
}
