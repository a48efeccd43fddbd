/*
 * Runs in a zone in the place of the agent (addon.vm.test.ts): tries, on the zone's kernel, what the host's may lack, and
 * says so on the console, a line each. "end" comes last; then it asks PID 1 to power off.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import {
  addEntropy,
  attachDevicePolicy,
  blockDeviceBytes,
  closeFd,
  compileSeccomp,
  detachDevicePolicy,
  freezeFsAsync,
  fsMount,
  loadModule,
  MNT_DETACH,
  MOUNT_ATTR,
  moveMount,
  NETLINK,
  NetlinkSocket,
  openAt,
  openTree,
  PROPAGATION,
  reconfigureFs,
  renameAt,
  resizeExt4Async,
  setMountAttributes,
  setTimes,
  symlinkAt,
  syncAllAsync,
  thawFsAsync,
  trimFsAsync,
  unmountAt,
  unmountFd,
} from "../index.js";

const { O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const O_PATH = 0o10000000;

function assert(condition: boolean, text: string): void {
  if (!condition) throw new Error(text);
}

function directory(path: string): number {
  mkdirSync(path, { recursive: true });
  return openSync(path, O_PATH | O_DIRECTORY);
}

/** The error that `call` throws, which it must. */
function failure(call: () => unknown): NodeJS.ErrnoException & { kernelLog?: string[] } {
  try {
    call();
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  throw new Error("it did not fail");
}

/** What a descriptor leads to; the one that readdir had is closed already. */
function placeOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

function mounts(): void {
  const at = directory("/run/probe/at");
  const mount = fsMount("tmpfs", [["size", "1m"]], MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV);
  moveMount(mount, at);
  reconfigureFs(mount, [["size", "2m"]]);
  const { blocks, bsize } = statfsSync("/run/probe/at");
  assert(blocks * bsize === 2 << 20, "the tmpfs has not grown");
  setMountAttributes(mount, { propagation: PROPAGATION.SHARED });
  writeFileSync("/run/probe/at/file", "x");
  const copy = openTree("", { recursive: true }, mount);
  setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOATIME, recursive: true });
  const copyAt = directory("/run/probe/copy");
  moveMount(copy, copyAt);
  assert(failure(() => writeFileSync("/run/probe/copy/file", "y")).code === "EROFS", "the copy is writable");
  unmountFd(copy, MNT_DETACH);
  for (const fd of [mount, copy, copyAt, at]) closeFd(fd);
  const parent = directory("/run/probe");
  unmountAt(parent, "at", 0);
  closeFd(parent);
  assert(!readFileSync("/proc/self/mounts", "utf8").includes("/run/probe/"), "something is still mounted");
}

function overlay(): void {
  for (const name of ["lower", "upper", "work", "merged"]) mkdirSync(`/run/layers/${name}`, { recursive: true });
  writeFileSync("/run/layers/lower/file", "from below");
  const options = (lower: string) =>
    [
      ["lowerdir", lower],
      ["upperdir", "/run/layers/upper"],
      ["workdir", "/run/layers/work"],
    ] as const;
  const mount = fsMount("overlay", options("/run/layers/lower"), 0, "overlay");
  const fd = openAt(mount, "file", O_RDONLY);
  assert(readFileSync(fd, "utf8") === "from below", "the lower file is not seen");
  closeFd(fd);
  closeFd(mount);
  const error = failure(() => fsMount("overlay", options("/no/such"), 0, "overlay"));
  console.log(`overlay error: ${error.code} ${JSON.stringify(error.kernelLog)}`);
  const unknown = failure(() => fsMount("tmpfs", [["colour", "red"]], 0));
  assert(unknown.kernelLog?.[0]?.includes("colour") ?? false, `no kernel log: ${unknown.message}`);
}

async function netlink(): Promise<void> {
  const socket = NetlinkSocket.open(NETLINK.ROUTE, 1);
  /** Answers with the type of the message that ends them, its error, and the whole text. */
  const ask = (type: number, body: Buffer) =>
    new Promise<{ error: number; text: string }>((resolve, reject) => {
      let text = "";
      socket.onError = reject;
      socket.onMessage = (datagram) => {
        text += datagram.toString("latin1");
        for (let at = 0; at < datagram.length; at += (datagram.readUInt32LE(at) + 3) & ~3) {
          if ([2, 3].includes(datagram.readUInt16LE(at + 4))) resolve({ error: datagram.readInt32LE(at + 16), text });
        }
      };
      const header = Buffer.alloc(16);
      header.writeUInt32LE(16 + body.length, 0);
      header.writeUInt16LE(type, 4);
      header.writeUInt16LE(0x301, 6);
      socket.send(Buffer.concat([header, body]));
    });
  const links = await ask(18, Buffer.alloc(16));
  assert(links.error === 0 && links.text.includes("lo\0"), "there is no lo");
  const refused = await ask(22, Buffer.alloc(4));
  assert(refused.error === -22 && /header/.test(refused.text), `not refused: ${refused.error}`);
  socket.close();
}

function devices(): void {
  const group = "/sys/fs/cgroup/zone/probe";
  mkdirSync(group);
  const fd = openSync(group, O_RDONLY | O_DIRECTORY);
  const inGroup = (script: string) =>
    spawnSync("/bin/sh", ["-c", `echo 0 > ${group}/cgroup.procs && { ${script}; }`]).status === 0;
  const tried = () => [": < /dev/null", ": > /dev/null", ": <> /dev/null", ": < /dev/zero"].map(inGroup).join(" ");
  attachDevicePolicy(fd, [{ allow: true, type: "c", major: 1, minor: 3, access: "r" }], false);
  assert(tried() === "true false false false", `allowed list: ${tried()}`);
  for (let i = 0; i < 70; i++)
    attachDevicePolicy(fd, [{ allow: false, type: "c", major: 1, minor: 3, access: "w" }], true);
  assert(tried() === "true false false true", `denied list: ${tried()}`);
  const many = Array.from({ length: 999 }, (_, i) => ({
    allow: true,
    type: "b" as const,
    major: i,
    minor: i,
    access: "rw",
  }));
  attachDevicePolicy(fd, [...many, { allow: true, type: "c", major: 1, minor: 5, access: "rwm" }], false);
  assert(tried() === "false false false true", `long list: ${tried()}`);
  detachDevicePolicy(fd);
  assert(tried() === "true true true true", `no list: ${tried()}`);
  closeFd(fd);
  rmdirSync(group);
}

function seccomp(): void {
  const filter = compileSeccomp({
    defaultAction: "SCMP_ACT_ERRNO",
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    rules: [{ names: ["read", "write", "no_such_call"], action: "SCMP_ACT_ALLOW", args: [] }],
  });
  assert(filter.length > 0 && filter.length % 8 === 0, `a filter of ${filter.length} bytes`);
}

/** A disk in a file, with a file system that is smaller; what it is mounted on. */
async function growing(): Promise<void> {
  for (let i = 0; i < 2; i++) loadModule("/modules/loop.ko", "max_loop=2");
  assert(existsSync("/sys/module/loop"), "loop is not loaded");
  writeFileSync("/run/disk", readFileSync("/ext4.img"));
  execFileSync("/bin/losetup", ["/dev/loop0", "/run/disk"]);
  const device = openSync("/dev/loop0", "r");
  const bytes = blockDeviceBytes(device);
  const at = directory("/run/ext4");
  const mount = fsMount("ext4", [], 0, "/dev/loop0");
  moveMount(mount, at);
  const root = openAt(mount, ".", O_RDONLY | O_DIRECTORY);
  const before = statfsSync("/run/ext4");
  await resizeExt4Async(root, BigInt(bytes / before.bsize));
  const after = statfsSync("/run/ext4");
  assert(after.blocks > before.blocks * 1.5, `${before.blocks} blocks, then ${after.blocks}`);
  await freezeFsAsync(root);
  await thawFsAsync(root);
  assert((await trimFsAsync(root, 0)) > 0, "nothing was trimmed");
  await syncAllAsync();
  for (const fd of [mount, root, at, device]) closeFd(fd);
  const run = directory("/run");
  unmountAt(run, "ext4", 0);
  closeFd(run);
}

function files(): void {
  const dir = directory("/run/files");
  closeFd(openAt(dir, "a", O_CREAT | O_WRONLY, 0o600));
  symlinkAt("a", dir, "b");
  const link = openAt(dir, "b", O_PATH | O_NOFOLLOW);
  setTimes(link, undefined, 1_234_567_890n);
  assert(lstatSync("/run/files/b", { bigint: true }).mtimeNs === 1_234_567_890n, "the link's time is not set");
  closeFd(link);
  renameAt(dir, "a", dir, "b", { exchange: true });
  assert(failure(() => renameAt(dir, "a", dir, "b", { noReplace: true })).code === "EEXIST", "b was replaced");
  closeFd(dir);
}

function system(): void {
  addEntropy(Buffer.from("probe"));
}

const steps = { mounts, overlay, netlink, devices, seccomp, growing, files, system };
const before = readdirSync("/proc/self/fd");
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`probe ${name}: works`);
  } catch (error) {
    console.log(`probe ${name}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
const left = readdirSync("/proc/self/fd").filter((fd) => !before.includes(fd));
// Node opens its own of these when it first writes to a console and spawns.
const ours = left.map(placeOf).filter((place) => !["", "/dev/null", "/dev/console"].includes(place));
console.log(`probe descriptors: ${ours.join(" ") || "none"} left`);
console.log("probe end");
process.kill(1, "SIGTERM");
setInterval(() => {}, 1000);
