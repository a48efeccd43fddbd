import { createHash } from "node:crypto";
import type { zone } from "@zone/proto";
import type { DomainDisk, DomainShare, ShareFacts } from "../domains/driver.js";
import { bridgeError } from "../errors.js";
import type { VolumeUse, ZoneRecord } from "../state/zone-record.js";
import { openHostSource } from "./host-mount.js";
import type { ZoneFile, ZoneMount } from "./mount-spec.js";
import { invalid } from "./spec-error.js";

type MountSpec = zone.agent.v1.MountSpec.$Properties;

/** Docker's for --tmpfs. */
const TMPFS_DEFAULTS = [
  ["noexec", "exec"],
  ["nosuid", "suid"],
  ["nodev", "dev"],
] as const;
/** Of what the API has no mode for; zones.proto, ZoneFile. */
const DEFAULT_FILE_MODE = 0o444;
/** A volume's files are in a folder of it: ext4's lost+found is none of a container's. */
const VOLUME_FOLDER = "data";
const SERIAL_LENGTH = 20;
/** Of all files of a zone: they go into one request, of 4 MiB at most, beside a seccomp profile. */
const MAX_CONTENT_BYTES = 2.5 * 1024 * 1024;

/** What a zone's mounts take of its domain, and then of its agent. */
export interface MountPlan {
  disks: DomainDisk[];
  shares: DomainShare[];
  /** As the container gets them, in the order of the request; `facts` is how the domain shares folders. */
  mounts(facts: readonly ShareFacts[]): MountSpec[];
}

/** Content of files mounts, by target. */
export type FilesByTarget = ReadonlyMap<string, readonly ZoneFile[]>;

/**
 * Looks at what the mounts of a zone need on the host. FILES_LOST when `files` lacks the content of one, and the errors of
 * openHostSource.
 */
export async function planMounts(
  record: ZoneRecord,
  files: FilesByTarget,
  pathOfVolume: (name: string) => string,
): Promise<MountPlan> {
  const disks: DomainDisk[] = [];
  const shares: DomainShare[] = [];
  let contentBytes = 0;
  const makers: ((facts: readonly ShareFacts[]) => MountSpec)[] = [];
  for (const mount of record.spec.mounts ?? []) {
    const target = mount.target ?? "";
    const readOnly = mount.readOnly ?? false;
    if (mount.host) {
      const source = await openHostSource(mount.host.path ?? "", mount.host.mustExist ?? false);
      if (source.kind === "file") {
        contentBytes += source.file.data?.length ?? 0;
        makers.push(() => filesMount(target, [source.file], true));
        continue;
      }
      const tag = `h${shares.length}`;
      shares.push({ path: source.path, tag, readOnly });
      makers.push((facts) => shareMount(target, tag, readOnly, facts));
    } else if (mount.volume) {
      const use = volumeUse(mount);
      disks.push(volumeDisk(use, pathOfVolume(use.volume)));
      makers.push(() => volumeMount(use));
    } else if (mount.tmpfs) {
      makers.push(() => tmpfsMount(target, mount.tmpfs?.options ?? [], readOnly));
    } else {
      const content = files.get(target);
      if (!content) throw filesLost(record.name, target);
      contentBytes += bytesOf(content);
      makers.push(() => filesMount(target, content, readOnly));
    }
  }
  checkContent(record.name, contentBytes);
  return { disks, shares, mounts: (facts) => makers.map((make) => make(facts)) };
}

/** INVALID_FILES when the files of a zone that is to be started, by target, are too many bytes together. */
export function checkContents(name: string, files: FilesByTarget): void {
  let bytes = 0;
  for (const content of files.values()) bytes += bytesOf(content);
  checkContent(name, bytes);
}

function bytesOf(content: readonly ZoneFile[]): number {
  return content.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
}

function checkContent(name: string, bytes: number): void {
  if (bytes <= MAX_CONTENT_BYTES) return;
  const message = `the files of zone ${name} are ${bytes} bytes together: give at most ${MAX_CONTENT_BYTES}, or mount folders`;
  throw invalid("INVALID_FILES", message);
}

/** The volumes of a checked request. */
export function volumesOf(mounts: readonly ZoneMount[]): VolumeUse[] {
  return mounts.filter(({ volume }) => volume).map(volumeUse);
}

function volumeUse({ volume, target, readOnly }: ZoneMount): VolumeUse {
  const noCopy = volume?.noCopy ?? false;
  return { volume: volume?.name ?? "", target: target ?? "", readOnly: readOnly ?? false, noCopy };
}

/** A volume as a disk of its zone, under a serial that its name alone gives. */
export function volumeDisk({ volume, readOnly }: VolumeUse, path: string): DomainDisk {
  return { path, serial: volumeSerial(volume), readOnly };
}

/** The serial of a volume's disk: virtio-blk takes 20 characters, a name may have more. */
export function volumeSerial(name: string): string {
  const digest = createHash("sha256").update(name).digest("hex");
  return `v${digest.slice(0, SERIAL_LENGTH - 1)}`;
}

/** A volume as a mount of its container. */
export function volumeMount(use: VolumeUse): MountSpec {
  return {
    type: "ext4",
    source: `serial:${volumeSerial(use.volume)}`,
    target: use.target,
    options: use.readOnly ? ["ro"] : ["discard"],
    subdirectory: VOLUME_FOLDER,
    copyUp: !use.noCopy && !use.readOnly,
  };
}

function shareMount(target: string, tag: string, readOnly: boolean, facts: readonly ShareFacts[]): MountSpec {
  const type = facts.find((fact) => fact.tag === tag)?.type ?? "virtiofs";
  return { type, source: tag, target, options: readOnly ? ["ro"] : [] };
}

/** Options as Docker's --tmpfs takes them: its defaults where none of them says otherwise. */
export function tmpfsMount(target: string, options: readonly string[], readOnly: boolean): MountSpec {
  const given = options.flatMap((option) => option.split(",")).filter(Boolean);
  const defaults = TMPFS_DEFAULTS.filter((pair) => !pair.some((option) => given.includes(option)));
  const all = [...defaults.map(([option]) => option), ...given, ...(readOnly ? ["ro"] : [])];
  return { type: "tmpfs", source: "tmpfs", target, options: all };
}

function filesMount(target: string, files: readonly ZoneFile[], readOnly: boolean): MountSpec {
  return { type: "files", target, options: readOnly ? ["ro"] : [], files: files.map(agentFile) };
}

/** A file as the agent takes it. */
export function agentFile({ path, data, mode, uid, gid }: ZoneFile): zone.agent.v1.FileContent.$Properties {
  return {
    path: path ?? "",
    data: data ?? Buffer.alloc(0),
    mode: mode || DEFAULT_FILE_MODE,
    uid: uid ?? 0,
    gid: gid ?? 0,
  };
}

function filesLost(name: string, target: string) {
  const message = `the files for ${target} of zone ${name} were kept in memory by a bridge that has ended: give them again (UpdateFiles), or make the zone anew`;
  return bridgeError("FAILED_PRECONDITION", "FILES_LOST", message, { type: "zone", name });
}

/** A request's mounts as they are kept: without the content of files, which goes into memory alone. */
export function withoutContent(mounts: readonly ZoneMount[]): { mounts: ZoneMount[]; files: Map<string, ZoneFile[]> } {
  const files = new Map<string, ZoneFile[]>();
  const kept = mounts.map((mount) => {
    if (!mount.files) return mount;
    files.set(mount.target ?? "", [...(mount.files.files ?? [])]);
    return { ...mount, files: {} };
  });
  return { mounts: kept, files };
}
