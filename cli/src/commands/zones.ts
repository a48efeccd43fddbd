import { toDuration, ZoneError } from "@zone/proto";
import { write } from "../attach/output.js";
import { inZone, openBridge, QUICK, zoneName } from "../bridge/connect.js";
import type { Context } from "../context.js";
import type { api } from "../messages.js";
import { parseCpus, parseDuration, parseMemory } from "../parse/quantities.js";
import { parsePidsLimit } from "../parse/security.js";
import { parseSignal } from "../parse/signal-names.js";
import { UsageError } from "../parse/usage-error.js";
import { imageToJson, zoneDetailsToJson } from "../text/json.js";
import { forEachName } from "./each.js";
import { writeJson } from "./list.js";

/** Prints the name that was given: what docker prints for what it has done. */
function printName(context: Context): (name: string) => Promise<void> {
  return (name) => write(context.stdout, `${name}\n`);
}

/** `zonectl kill`: a signal to the main process of each zone. */
export async function kill(context: Context, names: string[], options: { signal: string }): Promise<number> {
  const signal = parseSignal(options.signal);
  const client = await openBridge(context);
  const act = async (name: string) =>
    client.process.signal({ id: "main", signal }, { ...inZone(zoneName(name)), ...QUICK });
  return forEachName(context, names, act, printName(context));
}

/** `zonectl stop`: the stop signal, then SIGKILL. */
export async function stop(
  context: Context,
  names: string[],
  options: { time?: string; signal?: string },
): Promise<number> {
  const timeoutMs = options.time === undefined ? undefined : parseDuration(options.time);
  if (options.signal !== undefined) parseSignal(options.signal);
  const timeout = timeoutMs === undefined ? undefined : toDuration(timeoutMs);
  const client = await openBridge(context);
  // The bridge keeps the time; this only ends a call that it has forgotten.
  const deadline = { timeoutMs: (timeoutMs ?? 10_000) + 60_000 };
  const act = async (name: string) =>
    client.zones.stop({ zone: zoneName(name), timeout, signal: options.signal }, deadline);
  return forEachName(context, names, act, printName(context));
}

/** `zonectl rm`. */
export async function rm(context: Context, names: string[], options: { force?: boolean }): Promise<number> {
  const client = await openBridge(context);
  const act = async (name: string) =>
    client.zones.delete({ zone: zoneName(name), force: options.force ?? false }, { timeoutMs: 60_000 });
  return forEachName(context, names, act, printName(context));
}

/** `zonectl pause`: stops the cpus of each zone. */
export async function pause(context: Context, names: string[]): Promise<number> {
  const client = await openBridge(context);
  const act = async (name: string) => client.zones.pause({ zone: zoneName(name) }, QUICK);
  return forEachName(context, names, act, printName(context));
}

/** `zonectl unpause`. */
export async function unpause(context: Context, names: string[]): Promise<number> {
  const client = await openBridge(context);
  const act = async (name: string) => client.zones.resume({ zone: zoneName(name) }, QUICK);
  return forEachName(context, names, act, printName(context));
}

/** `zonectl rename`. */
export async function rename(context: Context, zone: string, name: string): Promise<number> {
  const client = await openBridge(context);
  await client.zones.update({ zone: zoneName(zone), name }, QUICK);
  return 0;
}

/** The options of `zonectl update`, as given. */
export interface UpdateOptions {
  readonly memory?: string;
  readonly cpus?: string;
  readonly pidsLimit?: string;
  readonly memoryLimit?: string;
}

/** `zonectl update`: other resources for zones that run, or are yet to. */
export async function update(context: Context, names: string[], options: UpdateOptions): Promise<number> {
  const change = {
    ...(options.memory !== undefined && { memoryBytes: parseMemory(options.memory) }),
    ...(options.cpus !== undefined && { cpuMillis: parseCpus(options.cpus) }),
    ...(options.pidsLimit !== undefined && { pidsLimit: parsePidsLimit(options.pidsLimit) }),
    ...(options.memoryLimit !== undefined && {
      memoryLimitBytes: options.memoryLimit === "-1" ? 0 : parseMemory(options.memoryLimit),
    }),
  };
  if (Object.keys(change).length === 0) {
    throw new UsageError("nothing to update: give --memory, --cpus, --pids-limit or --memory-limit");
  }
  const client = await openBridge(context);
  const act = async (name: string) => client.zones.update({ zone: zoneName(name), ...change }, { timeoutMs: 120_000 });
  return forEachName(context, names, act, printName(context));
}

/** `zonectl port`: where a zone's published ports are. */
export async function port(context: Context, name: string): Promise<number> {
  const client = await openBridge(context);
  const { zone } = await client.zones.get({ zone: zoneName(name) }, QUICK);
  await write(context.stdout, (zone?.ports ?? []).map((mapping) => `${portLine(mapping)}\n`).join(""));
  return 0;
}

/** "80/tcp -> 127.0.0.1:8080", as docker says it. */
export function portLine({ zonePort, zonePath, hostAddress, hostPort, hostPath }: api.PortMapping.$Properties): string {
  const address = hostAddress?.includes(":") ? `[${hostAddress}]` : hostAddress || "127.0.0.1";
  return `${zonePath || `${zonePort}/tcp`} -> ${hostPath || `${address}:${hostPort}`}`;
}

/** `zonectl wait`: prints each zone's exit code when it has ended. */
export async function wait(context: Context, names: string[]): Promise<number> {
  const client = await openBridge(context);
  const act = async (name: string) => client.zones.wait({ zone: zoneName(name) });
  return forEachName(context, names, act, (_name, { zone }) => write(context.stdout, `${zone?.exitCode ?? 0}\n`));
}

/** `zonectl inspect`: zones or images as one JSON array; what is found is shown whatever else is not. */
export async function inspect(context: Context, names: string[]): Promise<number> {
  const client = await openBridge(context);
  const found: unknown[] = [];
  const act = async (name: string) => {
    const zone = await inspectZone(name);
    if (zone) return zoneDetailsToJson(zone);
    const { images } = await client.images.list({}, QUICK);
    const image = images.find(
      (candidate) => candidate.references?.includes(name) || matchesDigest(candidate.digest ?? "", name),
    );
    if (image) return imageToJson(image);
    throw new ZoneError({
      code: "NOT_FOUND",
      reason: "NAME_UNKNOWN",
      message: `no zone or image '${name}'; see \`zonectl ls -a\` and \`zonectl image ls\``,
    });
  };
  async function inspectZone(name: string) {
    // What cannot be a zone's name may be an image's ("oci:folder").
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(name)) return undefined;
    try {
      return (await client.zones.get({ zone: name }, QUICK)).zone;
    } catch (thrown) {
      if (ZoneError.from(thrown).reason === "ZONE_UNKNOWN") return undefined;
      throw thrown;
    }
  }
  const exitCode = await forEachName(context, names, act, async (_name, json) => void found.push(json));
  await writeJson(context, found);
  return exitCode;
}

/** A digest, or at least 12 digits of one. */
function matchesDigest(digest: string, name: string): boolean {
  return digest === name || (/^[0-9a-f]{12,64}$/.test(name) && digest.startsWith(`sha256:${name}`));
}
