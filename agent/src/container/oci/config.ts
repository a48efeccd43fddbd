import { invalid } from "../../errors.js";
import { type Fields, jsonFields } from "../json-fields.js";
import { CONTAINER_LIMITS } from "../limits.js";
import { readProfile, type SeccompProfile } from "../seccomp/profile.js";
import { formatExactJson, parseExactJson } from "./exact-json.js";

/** What the agent itself needs of a bundle's config.json; crun reads the rest. */
export interface OciConfig {
  /** All of it, as it came. */
  json: Readonly<Record<string, unknown>>;
  /** Of the bundle's process, which is the container's init and gives later processes their defaults. */
  process: OciProcess;
  readOnly: boolean;
  annotations: Readonly<Record<string, string>>;
  hostname: string;
}

export interface OciProcess {
  args: readonly string[];
  /** "NAME=value" */
  env: readonly string[];
  terminal: boolean;
  /** Undefined: it does not say. */
  consoleSize: { rows: number; columns: number } | undefined;
  user: { uid: number; gid: number; additionalGids: readonly number[] };
  noNewPrivileges: boolean;
  /** Of the bounding set: "CAP_CHOWN". Undefined: it does not say, which means none. */
  capabilities: readonly string[] | undefined;
  seccomp: SeccompProfile | undefined;
}

const { fields, list } = jsonFields(refuse);

/** Reads config.json of an OCI bundle (runtime-spec 1.x). Throws INVALID_OCI_CONFIG, naming what is wrong. */
export function checkOciConfig(bytes: Uint8Array): OciConfig {
  const most = CONTAINER_LIMITS.ociConfigBytes;
  if (bytes.length > most) throw refuse(`it has ${bytes.length} bytes; at most ${most} are allowed`);
  let value: unknown;
  try {
    value = parseExactJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch {
    throw refuse("it is no JSON");
  }
  const json = fields(value, "it");
  const version = json.ociVersion;
  if (typeof version !== "string" || !/^1\.\d+\.\d+/.test(version))
    throw refuse(`ociVersion is ${JSON.stringify(version)?.slice(0, 40)}; 1.x.y is served`);
  const linux = fields(json.linux ?? {}, "linux");
  list(json.mounts, "mounts");
  return {
    json,
    process: readProcess(fields(json.process, "process"), linux),
    readOnly: flag(fields(json.root ?? {}, "root").readonly, "root.readonly"),
    annotations: readAnnotations(json.annotations),
    hostname: json.hostname === undefined ? "" : text(json.hostname, "hostname"),
  };
}

function readProcess(process: Fields, linux: Fields): OciProcess {
  const args = texts(process.args, "process.args");
  if (args.length === 0 || args[0] === "") throw refuse("process.args is empty: there is nothing to run");
  if (!text(process.cwd, "process.cwd").startsWith("/")) throw refuse("process.cwd is not an absolute path");
  const user = fields(process.user ?? {}, "process.user");
  const capabilities = process.capabilities === undefined ? undefined : fields(process.capabilities, "capabilities");
  return {
    args,
    env: texts(process.env, "process.env").filter((entry) => entry.indexOf("=") > 0),
    terminal: flag(process.terminal, "process.terminal"),
    consoleSize: readConsoleSize(process.consoleSize),
    user: {
      uid: id(user.uid ?? 0, "process.user.uid"),
      gid: id(user.gid ?? 0, "process.user.gid"),
      additionalGids: list(user.additionalGids, "process.user.additionalGids").map((gid) => id(gid, "additionalGids")),
    },
    noNewPrivileges: flag(process.noNewPrivileges, "process.noNewPrivileges"),
    capabilities: capabilities && texts(capabilities.bounding, "process.capabilities.bounding"),
    seccomp: linux.seccomp === undefined || linux.seccomp === null ? undefined : readSeccomp(linux.seccomp),
  };
}

function readSeccomp(value: unknown): SeccompProfile {
  try {
    return readProfile(value);
  } catch (error) {
    throw refuse(`linux.seccomp: ${error instanceof Error ? error.message : error}`);
  }
}

function readConsoleSize(value: unknown): OciProcess["consoleSize"] {
  if (value === undefined || value === null) return undefined;
  const { height, width } = fields(value, "process.consoleSize");
  const inRange = (size: unknown): size is number =>
    Number.isInteger(size) && Number(size) >= 1 && Number(size) <= 65535;
  // 0 by 0 is what runtimes write when they do not know.
  return inRange(height) && inRange(width) ? { rows: height, columns: width } : undefined;
}

function readAnnotations(value: unknown): Record<string, string> {
  const entries = Object.entries(fields(value ?? {}, "annotations"));
  return Object.fromEntries(entries.map(([name, each]) => [name, text(each, `annotations["${name.slice(0, 80)}"]`)]));
}

/** What of a bundle is the agent's to say. */
export interface BundlePlace {
  rootfs: string;
  readOnly: boolean;
  /** Below /sys/fs/cgroup; undefined where there is none. */
  cgroupsPath: string | undefined;
}

/** config.json as crun gets it. */
export function bundleConfig({ json }: OciConfig, { rootfs, readOnly, cgroupsPath }: BundlePlace): string {
  const { cgroupsPath: _theirs, ...linux } = fields(json.linux ?? {}, "linux");
  try {
    return formatExactJson({
      ...json,
      root: { path: rootfs, readonly: readOnly },
      linux: cgroupsPath === undefined ? linux : { ...linux, cgroupsPath },
    });
  } catch (error) {
    if (error instanceof RangeError) throw refuse("it is nested too deeply");
    throw error;
  }
}

function texts(value: unknown, where: string): string[] {
  return list(value, where).map((each) => text(each, where));
}

function text(value: unknown, where: string): string {
  if (typeof value === "string" && !value.includes("\0")) return value;
  throw refuse(`${where} is no text`);
}

function flag(value: unknown, where: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value === "boolean") return value;
  throw refuse(`${where} is neither true nor false`);
}

/** uid_t, of which -1 is none. */
function id(value: unknown, where: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 0xffff_ffff) return value;
  throw refuse(`${where} is no id`);
}

function refuse(why: string): Error {
  return invalid("INVALID_OCI_CONFIG", `oci_config: ${why}`);
}
