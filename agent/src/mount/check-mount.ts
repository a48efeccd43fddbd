import type { FsOption } from "@zone/native";
import type { zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { checkFiles, type MountedFile } from "./file-contents.js";
import { MOUNT_LIMITS } from "./limits.js";
import { type MountOptions, parseOptions } from "./options.js";

/** A folder or file that a mount takes: of a mount without container, or of the container that it is mounted in. */
export type Place = { kind: "zone"; name: string; path: string } | { kind: "container"; path: string };

export type MountSource =
  | { kind: "text"; text: string }
  | { kind: "disk"; serial: string }
  | { kind: "tag"; tag: string }
  | { kind: "place"; place: Place };

/** The layers of an overlay, the uppermost lower one first. */
export interface OverlayLayers {
  lower: readonly Place[];
  upper: Place | undefined;
  work: Place | undefined;
}

export type MountType = (typeof TYPES)[number];

/** A MountSpec that has been checked, with its defaults filled in. */
export interface CheckedMount {
  type: MountType;
  source: MountSource;
  /** As text, for messages and mountinfo. */
  sourceText: string;
  /** A container's: absolute, with single slashes; else a name. */
  target: string;
  options: MountOptions;
  layers: OverlayLayers | undefined;
  waitMs: number;
  files: readonly MountedFile[];
  /** "" or a relative path. */
  subdirectory: string;
  copyUp: boolean;
}

const TYPES = [
  ...(["tmpfs", "proc", "sysfs", "devpts", "cgroup2", "mqueue", "bind", "overlay"] as const),
  ...(["erofs", "squashfs", "ext4", "xfs", "virtiofs", "9p", "files"] as const),
] as const;
const DISK_TYPES = new Set<MountType>(["erofs", "squashfs", "ext4", "xfs"]);
const TAG_TYPES = new Set<MountType>(["virtiofs", "9p"]);
/** File systems that are the kernel's: nobody makes a folder in them, and nothing is copied there. */
const KERNEL_TYPES = new Set<MountType>(["proc", "sysfs", "devpts", "cgroup2", "mqueue"]);

const ZONE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** Checks a MountSpec; throws the INVALID_ARGUMENT reasons of mount.proto, and FILES_TOO_LARGE. */
export function checkMount(
  spec: zone.agent.v1.MountSpec.$Properties,
  where: "container" | "zone" = "container",
): CheckedMount {
  const type = TYPES.find((name) => name === spec.type);
  if (type === undefined) {
    throw invalid("INVALID_MOUNT", `"${spec.type?.slice(0, 40) ?? ""}" is no type of mount: ${TYPES.join(", ")} are`);
  }
  const target = checkTarget(spec.target ?? "", where);
  const waitMs = spec.waitMs || MOUNT_LIMITS.waitMs.default;
  if (waitMs > MOUNT_LIMITS.waitMs.max) {
    throw invalid("INVALID_MOUNT", `wait_ms is ${waitMs}; at most ${MOUNT_LIMITS.waitMs.max} are allowed`);
  }
  if (type !== "files" && (spec.files?.length ?? 0) > 0) {
    throw invalid("INVALID_MOUNT", `a mount of type ${type} has no files of its own`);
  }
  const files = checkFiles(spec.files ?? []);
  if (files[0]?.path.length === 0 && where === "zone") {
    throw invalid("INVALID_FILES", "a mount without container is a folder: a file of it needs a path");
  }
  const copyUp = spec.copyUp ?? false;
  if (copyUp && (where === "zone" || KERNEL_TYPES.has(type) || type === "files")) {
    throw invalid(
      "INVALID_MOUNT",
      `copy_up is for a container's folders: not for ${where === "zone" ? "a mount without container" : type}`,
    );
  }
  const source = checkSource(type, spec.source ?? "", where);
  const options = parseOptions(spec.options ?? []);
  const layers = type === "overlay" ? takeLayers(options, where) : undefined;
  const fs = layers ? options.fs.filter(([key]) => !LAYER_KEYS.has(key)) : options.fs;
  checkFsOptions(type, fs, options.recursive);
  return {
    ...{ type, source, target, waitMs, files, copyUp, layers },
    sourceText: spec.source || type,
    options: { ...options, fs },
    subdirectory: checkSubdirectory(spec.subdirectory ?? "", type),
  };
}

/** Throws INVALID_MOUNT unless `target` names a mount point; a container's comes back with single slashes. */
export function checkTarget(target: string, where: "container" | "zone"): string {
  if (where === "zone") {
    if (ZONE_NAME.test(target)) return target;
    throw invalid("INVALID_MOUNT", `"${target.slice(0, 64)}" is no name of a mount: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}`);
  }
  const components = checkAbsolute("target", target);
  if (components.length === 0) throw invalid("INVALID_MOUNT", "a mount's target cannot be the container's root itself");
  return `/${components.join("/")}`;
}

/** The components of an absolute path. A ".." is refused: what it means depends on links that the container can change. */
function checkAbsolute(what: string, path: string): string[] {
  const components = path.split("/").filter((name) => name !== "" && name !== ".");
  const bad =
    !path.startsWith("/") ||
    path.includes("\0") ||
    Buffer.byteLength(path) > MOUNT_LIMITS.targetBytes ||
    components.some((name) => name === ".." || Buffer.byteLength(name) > MOUNT_LIMITS.nameBytes);
  if (!bad) return components;
  throw invalid("INVALID_MOUNT", `the mount's ${what} "${path.slice(0, 80)}" is no absolute path without ".."`);
}

function checkSource(type: MountType, source: string, where: "container" | "zone"): MountSource {
  if (Buffer.byteLength(source) > MOUNT_LIMITS.sourceBytes || source.includes("\0")) {
    throw invalid("INVALID_MOUNT", `a mount's source is at most ${MOUNT_LIMITS.sourceBytes} bytes without NUL`);
  }
  if (type === "bind") return { kind: "place", place: checkPlace(source, where) };
  if (DISK_TYPES.has(type)) {
    const [, serial] = /^serial:([!-~]+)$/.exec(source) ?? [];
    if (serial !== undefined && serial.length <= LIMITS.blockSerialBytes) return { kind: "disk", serial };
    throw invalid(
      "INVALID_MOUNT",
      `the source of ${type} is "serial:SERIAL", of 1 to ${LIMITS.blockSerialBytes} printable ASCII characters`,
    );
  }
  if (TAG_TYPES.has(type)) {
    if (source !== "" && Buffer.byteLength(source) <= MOUNT_LIMITS.tagBytes) return { kind: "tag", tag: source };
    throw invalid("INVALID_MOUNT", `the source of ${type} is its tag, of 1 to ${MOUNT_LIMITS.tagBytes} bytes`);
  }
  return { kind: "text", text: source || type };
}

/** "zone:NAME[/PATH]", or in a container an absolute path. */
export function checkPlace(text: string, where: "container" | "zone"): Place {
  if (text.startsWith("/") && where === "container") {
    return { kind: "container", path: `/${checkAbsolute("source", text).join("/")}` };
  }
  const [, name, path = "/"] = /^zone:([^/]*)(\/.*)?$/s.exec(text) ?? [];
  if (name === undefined || !ZONE_NAME.test(name)) {
    const own = where === "container" ? ", or an absolute path in the container" : "";
    throw invalid("INVALID_MOUNT", `"${text.slice(0, 80)}" is no source: it is "zone:NAME[/PATH]"${own}`);
  }
  return { kind: "zone", name, path: `/${checkAbsolute("source", path).join("/")}` };
}

const LAYER_KEYS = new Set(["lowerdir", "upperdir", "workdir"]);

/** The layers among an overlay's options. "lowerdir=zone:a/x:zone:b:/c": its colons are those between, and those of "zone:". */
function takeLayers(options: MountOptions, where: "container" | "zone"): OverlayLayers {
  const value = (key: string) => options.fs.findLast(([name]) => name === key)?.[1];
  const [lower, upper, work] = [value("lowerdir"), value("upperdir"), value("workdir")];
  if (!lower) throw invalid("INVALID_MOUNT", 'an overlay needs the option "lowerdir="');
  if ((upper === undefined) !== (work === undefined)) {
    throw invalid("INVALID_MOUNT", 'an overlay has both of "upperdir=" and "workdir=", or none');
  }
  const places = lower.split(/(?<!(?:^|:)zone):/).map((text) => checkPlace(text, where));
  if (places.length > MOUNT_LIMITS.overlayLayers) {
    throw invalid(
      "INVALID_MOUNT",
      `an overlay has ${places.length} lower folders; at most ${MOUNT_LIMITS.overlayLayers} are taken`,
    );
  }
  return {
    lower: places,
    upper: upper === undefined ? undefined : checkPlace(upper, where),
    work: work === undefined ? undefined : checkPlace(work, where),
  };
}

function checkFsOptions(type: MountType, fs: readonly FsOption[], recursive: boolean): void {
  if (recursive && type !== "bind") throw invalid("INVALID_MOUNT", `"rbind" is for mounts of type bind, not ${type}`);
  const [first] = fs;
  if (first && (type === "bind" || type === "files")) {
    const why = type === "bind" ? "its file system has its options already" : "its size is that of its files";
    throw invalid("INVALID_MOUNT", `a mount of type ${type} takes no option "${first[0]}": ${why}`);
  }
}

function checkSubdirectory(path: string, type: MountType): string {
  if (path === "") return "";
  if (KERNEL_TYPES.has(type) || type === "files") {
    throw invalid("INVALID_MOUNT", `a mount of type ${type} has no subdirectory`);
  }
  if (path.startsWith("/")) throw invalid("INVALID_MOUNT", "a mount's subdirectory is relative");
  return checkAbsolute("subdirectory", `/${path}`).join("/");
}
