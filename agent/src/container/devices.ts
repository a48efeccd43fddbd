import { chmodSync, chownSync, constants, lstatSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { type DeviceRule, makeNode } from "@zone/native";
import type { zone } from "@zone/proto";
import { deviceNumber } from "../descriptors.js";
import { agentError, errnoOf, invalid } from "../errors.js";
import { CONTAINER_LIMITS } from "./limits.js";

/** A device of the zone's that a container gets: a node, and the right to use it. */
export interface DeviceSpec {
  /** "/dev/fuse" */
  path: string;
  /** Below the container's /dev: "fuse", "net/tun". */
  name: string;
  /** Letters of "rwm". */
  access: string;
  /** Undefined: as the zone's. */
  mode: number | undefined;
  uid: number;
  gid: number;
}

/** Nodes that every container has, as the OCI runtime specification's "Default Devices". */
export const DEFAULT_NODES: readonly [name: string, major: number, minor: number][] = [
  ["null", 1, 3],
  ["zero", 1, 5],
  ["full", 1, 7],
  ["random", 1, 8],
  ["urandom", 1, 9],
  ["tty", 5, 0],
];

/** Names in /dev that are the container's own, and no nodes of the zone's. */
const RESERVED = new Set(["pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "ptmx", "console"]);
const PTMX = { major: 5, minor: 2 };
/** Documentation/admin-guide/devices.txt: Unix98 ptys, 136 to 143, of which Linux uses the first. */
const PTS_MAJOR = 136;

/**
 * What Docker lets a container do with devices: make any node, for what is made in an image is of use elsewhere; open only
 * those that every container has, and ttys. Not its 5:1: that is the zone's console, and a container's /dev/console is a pty.
 */
const DEFAULT_RULES: readonly DeviceRule[] = [
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...DEFAULT_NODES.map(([, major, minor]) => ({ allow: true, type: "c", major, minor, access: "rwm" }) as const),
  { allow: true, type: "c", ...PTMX, access: "rwm" },
  { allow: true, type: "c", major: PTS_MAJOR, access: "rwm" },
];

/** Throws INVALID_DEVICE. */
export function checkDevices(devices: readonly zone.agent.v1.Device.$Properties[]): DeviceSpec[] {
  const { devices: most } = CONTAINER_LIMITS;
  if (devices.length > most) throw invalid("INVALID_DEVICE", `${devices.length} devices; at most ${most} are taken`);
  return devices.map(checkDevice);
}

function checkDevice(device: zone.agent.v1.Device.$Properties): DeviceSpec {
  const path = device.path ?? "";
  const inside = device.containerPath || path;
  for (const text of [path, inside]) {
    const components = text.split("/").slice(1);
    const good = (name: string) => name !== "" && name !== "." && name !== ".." && !name.includes("\0");
    if (text.startsWith("/dev/") && text.length < 256 && components.every(good)) continue;
    throw invalid("INVALID_DEVICE", `"${text.slice(0, 80)}" is no path of a device: it must be below /dev`);
  }
  const name = inside.slice("/dev/".length);
  const [top = ""] = name.split("/");
  if (RESERVED.has(top)) throw invalid("INVALID_DEVICE", `/dev/${top} is the container's own: no device can be there`);
  const access = device.permissions || "rwm";
  if (!/^[rwm]{1,3}$/.test(access) || new Set(access).size !== access.length)
    throw invalid(
      "INVALID_DEVICE",
      `permissions of ${path} are "${access.slice(0, 8)}"; they must be letters of "rwm"`,
    );
  const mode = device.mode || undefined;
  if (mode !== undefined && mode > 0o777)
    throw invalid("INVALID_DEVICE", `mode of ${path} is 0${mode.toString(8)}; permission bits are 0 to 0777`);
  const [uid, gid] = [device.uid ?? 0, device.gid ?? 0];
  if (uid >= NO_ID || gid >= NO_ID) throw invalid("INVALID_DEVICE", `${path}: ${NO_ID} is no user and no group`);
  return { path, name, access, mode, uid, gid };
}

/** (uid_t)-1, which means "leave it" to chown(2). */
const NO_ID = 0xffff_ffff;

/** A node of the zone's. */
export interface DeviceNode extends DeviceSpec {
  type: "b" | "c";
  major: number;
  minor: number;
  mode: number;
}

/** What a device policy says of one. */
export type DeviceNumber = Pick<DeviceNode, "type" | "major" | "minor" | "access">;

export function numberOf({ type, major, minor, access }: DeviceNumber): DeviceNumber {
  return { type, major, minor, access };
}

/** What a container gets of the zone's /dev (`dev`): what it asks for, and when it is privileged all else as well. */
export function devicesFor(
  settings: { devices: readonly DeviceSpec[]; privileged: boolean },
  dev: string,
): DeviceNode[] {
  const wanted = findDevices(settings.devices, dev);
  if (!settings.privileged) return wanted;
  const names = new Set(wanted.map(({ name }) => name));
  return [...wanted, ...allDevices(dev).filter(({ name }) => !names.has(name))];
}

/** Looks the devices up in the zone's /dev (`dev`). DEVICE_NOT_FOUND, or INVALID_DEVICE for what is no device. */
function findDevices(devices: readonly DeviceSpec[], dev: string): DeviceNode[] {
  return devices.map((device) => {
    const node = readNode(join(dev, device.path.slice("/dev/".length)), device);
    if (node) return node;
    throw invalid("INVALID_DEVICE", `${device.path} is no device`);
  });
}

/** All of the zone's devices, for a privileged container; what a container has of its own is left out. */
function allDevices(dev: string): DeviceNode[] {
  const nodes: DeviceNode[] = [];
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(dev, folder), { withFileTypes: true })) {
      const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (folder === "" && (RESERVED.has(entry.name) || DEFAULT_NODES.some(([own]) => own === entry.name))) continue;
      if (entry.isDirectory()) walk(name);
      if (!entry.isBlockDevice() && !entry.isCharacterDevice()) continue;
      const spec = { path: `/dev/${name}`, name, access: "rwm", mode: undefined, uid: 0, gid: 0 };
      const node = readNode(join(dev, name), spec);
      if (node) nodes.push(node);
    }
  };
  walk("");
  return nodes;
}

function readNode(path: string, device: DeviceSpec): DeviceNode | undefined {
  let stat: ReturnType<typeof statSync>;
  try {
    stat = statSync(path);
  } catch (error) {
    if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) throw error;
    throw agentError("NOT_FOUND", "DEVICE_NOT_FOUND", `the zone has no device ${device.path}`, {
      resource: { type: "device", name: device.path },
    });
  }
  const type = stat.isBlockDevice() ? "b" : stat.isCharacterDevice() ? "c" : undefined;
  if (!type) return undefined;
  return { ...device, type, ...deviceNumber(stat.rdev), mode: device.mode ?? stat.mode & 0o777 };
}

/** Makes the nodes in the folder `dev` of a container, in which nothing runs yet. INVALID_DEVICE for a name that is taken. */
export function makeNodes(dev: string, nodes: readonly DeviceNode[]): void {
  for (const { name, type, major, minor, mode, uid, gid } of nodes) {
    const path = join(dev, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    if (lstatSync(path, { throwIfNoEntry: false })) throw invalid("INVALID_DEVICE", `/dev/${name} is there already`);
    makeNode(path, (type === "b" ? constants.S_IFBLK : constants.S_IFCHR) | mode, major, minor);
    // mknod(2) applies the umask.
    chmodSync(path, mode);
    chownSync(path, uid, gid);
  }
}

/** What the container's processes may do with devices; undefined: anything. The first rule that names a device decides. */
export function deviceRules(nodes: readonly DeviceNumber[], privileged: boolean): DeviceRule[] | undefined {
  if (privileged) return undefined;
  return [...nodes.map((node) => ({ allow: true, ...numberOf(node) })), ...DEFAULT_RULES];
}
