import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer, connect as netConnect, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  closeFd,
  dup,
  memfd,
  memfdFromFile,
  openPty,
  openPtySlave,
  peerCredentials,
  pipe,
  setWindowSize,
  socketFd,
  socketPair,
  ttyEofCharacter,
} from "./descriptors.js";
import { openInRoot } from "./files.js";
import { addEntropy, makeNode, mount, unmount } from "./system.js";
import { connect, listen, localCid } from "./vsock.js";

const isRoot = process.getuid?.() === 0;

const caught = (call: () => unknown) => {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("it did not throw");
};

describe("descriptors", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "zone-native-"));
  });
  afterAll(() => rmSync(dir, { recursive: true }));
  const flagsOf = (fd: number) =>
    Number.parseInt(/flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "", 8);
  const O_CLOEXEC = 0o2000000;

  it("are all close-on-exec", () => {
    const { master, slave } = openPty(1, 1);
    const { read, write } = pipe();
    const fds = [master, slave, read, write, ...socketPair(), dup(read), memfd("m", Buffer.alloc(1))];
    for (const fd of fds) {
      expect(flagsOf(fd) & O_CLOEXEC).toBe(O_CLOEXEC);
      closeFd(fd);
    }
  });

  it("say code, errno and syscall of what went wrong", () => {
    expect(caught(() => closeFd(99_999))).toMatchObject({ code: "EBADF", errno: -9, syscall: "close" });
    expect(caught(() => unmount("/no/such", 0))).toMatchObject({
      code: "ENOENT",
      syscall: "umount2",
      path: "/no/such",
    });
    expect(caught(() => mount("a", "/no/such", "tmpfs", 0, ""))).toMatchObject({ code: "ENOENT", path: "/no/such" });
  });

  it("refuse arguments that are none", () => {
    for (const bad of [Number.NaN, 1.5, 2 ** 40, "1", undefined, null]) {
      expect(caught(() => closeFd(bad as number))).toMatchObject({
        code: expect.stringMatching(/^ERR_(INVALID_ARG_TYPE|OUT_OF_RANGE)$/),
      });
    }
    expect(caught(() => unmount("/a\0b", 0))).toMatchObject({ code: "ERR_INVALID_ARG_VALUE" });
    expect(caught(() => unmount("x".repeat(5000), 0))).toMatchObject({ code: "ENAMETOOLONG" });
    expect(caught(() => memfd("m", "text" as unknown as Uint8Array))).toMatchObject({ code: "ERR_INVALID_ARG_TYPE" });
  });

  it("of memory cannot be changed any more", () => {
    const fd = memfd("m", Buffer.from("contents"));
    expect(caught(() => writeSync(fd, "x", 0))).toMatchObject({ code: "EPERM" });
    expect(caught(() => ftruncateSync(fd, 1))).toMatchObject({ code: "EPERM" });
    const into = Buffer.alloc(20);
    expect(into.toString("utf8", 0, readSync(fd, into, 0, 20, 0))).toBe("contents");
    closeFd(fd);
  });

  it("of memory copy a file and its holes", () => {
    const path = join(dir, "sparse");
    writeFileSync(path, "begin");
    truncateSync(path, 64 << 20);
    const fd = openSync(path, "r+");
    writeSync(fd, "middle", 32 << 20);
    closeFd(fd);
    const copy = memfdFromFile("copy", path);
    const { size, blocks } = fstatSync(copy);
    expect(size).toBe(64 << 20);
    expect(blocks * 512).toBeLessThan(1 << 20);
    const into = Buffer.alloc(6);
    readSync(copy, into, 0, 6, 32 << 20);
    expect(into.toString()).toBe("middle");
    expect(caught(() => writeSync(copy, "x", 0))).toMatchObject({ code: "EPERM" });
    closeFd(copy);
    expect(caught(() => memfdFromFile("copy", dir))).toMatchObject({ code: "EINVAL", path: dir });
    expect(caught(() => memfdFromFile("copy", join(dir, "none")))).toMatchObject({ code: "ENOENT" });
  });

  it("open nothing outside their root", () => {
    const root = join(dir, "root");
    mkdirSync(join(root, "etc"), { recursive: true });
    writeFileSync(join(root, "etc/passwd"), "inside");
    writeFileSync(join(dir, "secret"), "outside");
    symlinkSync("/etc/passwd", join(root, "absolute"));
    symlinkSync("../../../../../../etc/passwd", join(root, "climbing"));
    symlinkSync("../secret", join(root, "neighbour"));
    symlinkSync("loop", join(root, "loop"));
    const rootFd = openSync(root, "r");
    const open = (path: string) => {
      const fd = openInRoot(rootFd, path, constants.O_RDONLY);
      const text = readFileSync(fd, "utf8");
      closeFd(fd);
      return text;
    };
    for (const path of ["etc/passwd", "/etc/passwd", "absolute", "climbing", "../../etc/passwd"])
      expect(open(path)).toBe("inside");
    expect(caught(() => open("neighbour"))).toMatchObject({ code: "ENOENT", path: "neighbour" });
    expect(caught(() => open("../secret"))).toMatchObject({ code: "ENOENT" });
    expect(caught(() => open("loop"))).toMatchObject({ code: "ELOOP" });
    const made = openInRoot(rootFd, "/made", constants.O_CREAT | constants.O_WRONLY, 0o600);
    expect(fstatSync(made).mode & 0o777).toBe(0o600);
    closeFd(made);
    closeFd(rootFd);
  });

  it("of a terminal know its size and its end-of-file character", () => {
    const { master, slave } = openPty(12, 34);
    const stty = (...args: string[]) =>
      execFileSync("stty", args, { stdio: [slave, "pipe", "inherit"], encoding: "utf8" }).trim();
    expect(stty("size")).toBe("12 34");
    setWindowSize(master, 40, 50);
    expect(stty("size")).toBe("40 50");
    expect(ttyEofCharacter(master)).toBe(4);
    stty("eof", "^X");
    expect(ttyEofCharacter(master)).toBe(0x18);
    stty("raw");
    expect(ttyEofCharacter(master)).toBe(-1);
    expect(caught(() => setWindowSize(master, 70_000, 1))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    closeFd(master);
    closeFd(slave);
    const { read, write } = pipe();
    expect(caught(() => ttyEofCharacter(read))).toMatchObject({ code: "ENOTTY" });
    closeFd(read);
    closeFd(write);
  });

  it("of an opened ptmx have another end, in the devpts that it is of", () => {
    const master = openSync("/dev/pts/ptmx", constants.O_RDWR | constants.O_NOCTTY);
    const slave = openPtySlave(master, 12, 34);
    expect(flagsOf(slave) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(readlinkSync(`/proc/self/fd/${slave}`)).toMatch(/^\/dev\/pts\/\d+$/);
    const size = execFileSync("stty", ["size"], { stdio: [slave, "pipe", "inherit"], encoding: "utf8" });
    expect(size).toBe("12 34\n");
    closeFd(slave);
    closeFd(master);
    const nothing = openSync("/dev/null", "r+");
    expect(caught(() => openPtySlave(nothing, 1, 1))).toMatchObject({ code: "EINVAL" });
    closeFd(nothing);
    expect(caught(() => openPtySlave(99_999, 1, 1))).toMatchObject({ code: "EBADF" });
  });

  it("of sockets know who is at the other end", async () => {
    const path = join(dir, "peer.sock");
    const server = createServer().listen(path);
    await once(server, "listening");
    const client = netConnect(path);
    const [socket] = (await once(server, "connection")) as [Socket];
    expect(peerCredentials(socketFd(socket))).toEqual({
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    client.destroy();
    socket.destroy();
    server.close();
    expect(() => socketFd(new Socket())).toThrow("no descriptor");
  });

  it.skipIf(!isRoot)("of devices are made as asked (needs root)", () => {
    const path = join(dir, "null");
    makeNode(path, 0o020666, 1, 3);
    expect(readFileSync(path, "utf8")).toBe("");
    expect(caught(() => makeNode(path, 0o020666, 1, 3))).toMatchObject({ code: "EEXIST", path });
    addEntropy(Buffer.from("some"));
    expect(caught(() => addEntropy(Buffer.alloc(4097)))).toMatchObject({ code: "EINVAL" });
  });
});

/** The module is there, and it has a loopback (vsock_loopback). */
const hasLoopback = (() => {
  try {
    return localCid() > 0 && readFileSync("/proc/modules", "utf8").includes("vsock_loopback");
  } catch {
    return false;
  }
})();

describe("vsock", { timeout: 60_000 }, () => {
  it.skipIf(!hasLoopback)("connects and listens (needs vsock_loopback)", async () => {
    const accepted = new Promise<{ socket: Socket; cid: number }>((resolve) => {
      const listener = listen({ port: 0 }, (socket, { cid }) => {
        listener.close();
        resolve({ socket, cid });
      });
      connect({ cid: 1, port: listener.port, timeoutMs: 10_000 }).then((socket) => socket.end("hello"));
    });
    const { socket, cid } = await accepted;
    expect(cid).toBe(1);
    socket.end();
    for await (const chunk of socket) expect(String(chunk)).toBe("hello");
  });

  it("stops when it is told to, or takes too long", async () => {
    const controller = new AbortController();
    controller.abort(new Error("enough"));
    await expect(connect({ cid: 1, port: 1, timeoutMs: 1000, signal: controller.signal })).rejects.toThrow("enough");
    // Nobody has this CID; what the kernel says, and when, depends on the transports that it has.
    await expect(connect({ cid: 4_000_000, port: 1, timeoutMs: 50 })).rejects.toMatchObject({
      code: expect.any(String),
    });
  });
});
