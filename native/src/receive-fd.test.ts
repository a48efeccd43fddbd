import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { addon } from "./addon.js";
import { closeFd, memfd, socketFd, socketPair } from "./descriptors.js";
import { receiveFd } from "./receive-fd.js";

describe("receiveFd", { timeout: 60_000 }, () => {
  const opened: number[] = [];
  afterEach(() => {
    for (const fd of opened.splice(0)) closeFd(fd);
  });
  const pair = () => {
    const [a, b] = socketPair();
    opened.push(a, b);
    return [a, b] as const;
  };
  const file = (text: string) => {
    const fd = memfd("sent", Buffer.from(text));
    opened.push(fd);
    return fd;
  };

  it("gives the descriptor and the bytes of one message", async () => {
    const [a, b] = pair();
    const waiting = receiveFd(b);
    addon().sendPacket(a, Buffer.from("/dev/pts/0"), [file("contents")]);
    const { fd, data } = await waiting;
    opened.push(fd);
    expect(data.toString()).toBe("/dev/pts/0");
    expect(readFileSync(`/proc/self/fd/${fd}`, "utf8")).toBe("contents");
    expect(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")).toMatch(/flags:\s*02/);
  });

  it("takes it from a connection that Node accepted and does not read", async () => {
    const dir = mkdtempSync(join(tmpdir(), "zone-fd-"));
    const server = createServer({ pauseOnConnect: true }).listen(join(dir, "s"));
    await once(server, "listening");
    const connected = once(server, "connection") as Promise<[Socket]>;
    const sender = `import array, socket
s = socket.socket(socket.AF_UNIX); s.connect(${JSON.stringify(join(dir, "s"))})
s.sendmsg([b"here"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])`;
    const stdin = file("from another process");
    execFileSync("python3", ["-c", sender], { stdio: [stdin, "inherit", "inherit"] });
    const [socket] = await connected;
    const { fd, data } = await receiveFd(socketFd(socket));
    opened.push(fd);
    expect([data.toString(), readFileSync(`/proc/self/fd/${fd}`, "utf8")]).toEqual(["here", "from another process"]);
    socket.destroy();
    server.close();
    rmSync(dir, { recursive: true });
  });

  it("refuses none, several, and a peer that has gone; and leaks nothing", async () => {
    const before = readdirSync("/proc/self/fd").length;
    for (const [fds, code] of [
      [[], "EPROTO"],
      [[file("1"), file("2")], "EPROTO"],
    ] as const) {
      const [a, b] = pair();
      addon().sendPacket(a, Buffer.from("x"), fds);
      await expect(receiveFd(b)).rejects.toMatchObject({ code });
    }
    const [gone, left] = socketPair();
    closeFd(gone);
    await expect(receiveFd(left)).rejects.toMatchObject({ code: "ECONNRESET" });
    closeFd(left);
    for (const fd of opened.splice(0)) closeFd(fd);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  it("stops when told", async () => {
    const [, b] = pair();
    const before = readdirSync("/proc/self/fd").length;
    const controller = new AbortController();
    const waiting = receiveFd(b, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(receiveFd(b, { signal: controller.signal })).rejects.toThrow("enough");
    await expect(receiveFd(99_999)).rejects.toMatchObject({ code: "EBADF" });
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });
});
