import { readFileSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import type { api } from "../messages.js";
import { parseMemory } from "./quantities.js";
import { UsageError } from "./usage-error.js";

type ZoneMount = api.ZoneMount.$Properties;

/** As the bridge's own rule for a volume's name. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
/** More than any secret; the bridge's bound for files that are pushed into a zone. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * `-v SOURCE:TARGET[:OPTIONS]` as docker has it: a source with a "/" is a folder or file of this host, relative to `directory`,
 * anything else a volume. Options are ro, rw, nocopy, and z, Z and the propagation modes, which mean nothing here.
 */
export function parseVolume(text: string, directory: string): ZoneMount {
  const parts = text.split(":");
  const [source = "", target = "", options = ""] = parts;
  if (parts.length < 2 || parts.length > 3) {
    throw new UsageError(`invalid volume '${text}': give SOURCE:TARGET[:ro]; a volume without a name would be lost`);
  }
  const mount: ZoneMount = { target: checkTarget(target, text) };
  let noCopy = false;
  for (const option of options.split(",").filter(Boolean)) {
    if (option === "ro") mount.readOnly = true;
    else if (option === "nocopy") noCopy = true;
    else if (!["rw", "z", "Z", "private", "rprivate", "slave", "rslave"].includes(option)) {
      throw new UsageError(`invalid volume '${text}': '${option}' is no option of it; ro, rw and nocopy are`);
    }
  }
  if (source.includes("/") || source === "." || source === "..") {
    return { ...mount, host: { path: resolve(directory, source) } };
  }
  return { ...mount, volume: { name: checkVolumeName(source), noCopy } };
}

/** `--mount type=bind|volume|tmpfs,source=...,target=...[,readonly]`, docker's long form: what it names must be there. */
export function parseMount(text: string, directory: string): ZoneMount {
  const fields = new Map<string, string>();
  for (const part of text.split(",")) {
    const equals = part.indexOf("=");
    fields.set(equals < 0 ? part : part.slice(0, equals), equals < 0 ? "true" : part.slice(equals + 1));
  }
  const take = (...names: string[]) => {
    for (const name of names) {
      const value = fields.get(name);
      if (value !== undefined && fields.delete(name)) return value;
    }
    return undefined;
  };
  const type = take("type") ?? "volume";
  const source = take("source", "src");
  const readOnly = isTrue(take("readonly", "ro"));
  const mount: ZoneMount = { target: checkTarget(take("target", "destination", "dst") ?? "", text), readOnly };
  const refuseRest = () => {
    for (const name of fields.keys()) throw new UsageError(`invalid mount '${text}': a ${type} has no '${name}'`);
  };
  switch (type) {
    case "bind": {
      refuseRest();
      if (!source) throw new UsageError(`invalid mount '${text}': a bind needs source=PATH`);
      return { ...mount, host: { path: resolve(directory, source), mustExist: true } };
    }
    case "volume": {
      const noCopy = isTrue(take("volume-nocopy"));
      refuseRest();
      return { ...mount, volume: { name: checkVolumeName(source ?? ""), noCopy } };
    }
    case "tmpfs": {
      const size = take("tmpfs-size");
      const mode = take("tmpfs-mode");
      refuseRest();
      if (source) throw new UsageError(`invalid mount '${text}': a tmpfs has no source`);
      const options = [size && `size=${parseMemory(size)}`, mode && `mode=${mode}`];
      return { ...mount, tmpfs: { options: options.filter((option) => option !== undefined) as string[] } };
    }
    default:
      throw new UsageError(`invalid mount '${text}': type is bind, volume or tmpfs`);
  }
}

/** `--tmpfs TARGET[:OPTIONS]`. */
export function parseTmpfs(text: string): ZoneMount {
  const colon = text.indexOf(":");
  const target = colon < 0 ? text : text.slice(0, colon);
  const options = colon < 0 ? [] : text.slice(colon + 1).split(",");
  return {
    target: checkTarget(target, text),
    readOnly: options.includes("ro"),
    tmpfs: { options: options.filter((option) => !["", "ro", "rw"].includes(option)) },
  };
}

/** `--secret FILE[:TARGET[:MODE]]`: the file's content, in the zone's memory alone; /run/secrets/NAME by default. */
export function parseSecret(text: string, directory: string): ZoneMount {
  const [path = "", target = `/run/secrets/${path.split("/").pop()}`, mode = "400", ...rest] = text.split(":");
  if (path === "" || rest.length > 0 || !/^[0-7]{3,4}$/.test(mode)) {
    throw new UsageError(`invalid secret '${text}': give FILE[:TARGET[:MODE]], such as token:/run/secrets/token:400`);
  }
  const slash = target.lastIndexOf("/");
  const file = {
    path: target.slice(slash + 1),
    data: readContent(resolve(directory, path)),
    mode: Number.parseInt(mode, 8),
  };
  if (file.path === "") throw new UsageError(`invalid secret '${text}': '${target}' names no file`);
  return { target: checkTarget(target.slice(0, slash), text), readOnly: true, files: { files: [file] } };
}

/** Secrets in one folder are one mount. */
export function mergeFiles(mounts: readonly ZoneMount[]): ZoneMount[] {
  const merged: ZoneMount[] = [];
  for (const mount of mounts) {
    const same = mount.files && merged.find((each) => each.files && each.target === mount.target);
    if (same?.files) same.files = { files: [...(same.files.files ?? []), ...(mount.files?.files ?? [])] };
    else merged.push(mount);
  }
  return merged;
}

/** A file's bytes; a UsageError says why not. */
export function readContent(path: string): Buffer {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (thrown) {
    throw new UsageError(`cannot read '${path}': ${(thrown as Error).message}`);
  }
  if (content.length <= MAX_FILE_BYTES) return content;
  throw new UsageError(`'${path}' has ${content.length} bytes: at most ${MAX_FILE_BYTES} can be pushed into a zone`);
}

export function checkVolumeName(name: string): string {
  if (VOLUME_NAME.test(name)) return name;
  throw new UsageError(
    `invalid volume name '${name}': use 1 to 63 letters, digits, '_', '.' and '-'; a path of this host begins with / or ./`,
  );
}

function checkTarget(target: string, text: string): string {
  if (isAbsolute(target) && target !== "/" && !target.split("/").includes("..")) return target;
  throw new UsageError(`invalid mount '${text}': its target must be an absolute path in the zone, other than /`);
}

function isTrue(value: string | undefined): boolean {
  return value === "true" || value === "1";
}
