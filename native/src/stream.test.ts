import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { closeFd, openPty, pipe, socketPair } from "./descriptors.js";
import { streamFromFd } from "./stream.js";
import { collect } from "./testing/init-under-test.js";

const TIMEOUT_MS = 60_000;
const BOTH = { readable: true, writable: true };

describe("streamFromFd", { timeout: TIMEOUT_MS }, () => {
  it("carries bytes both ways through a socket, half-open", async () => {
    const [a, b] = socketPair().map((fd) => streamFromFd(fd, BOTH));
    if (!a || !b) throw new Error("no pair");
    a.end("ping");
    expect((await collect(b)).toString()).toBe("ping");
    b.end("pong");
    expect((await collect(a)).toString()).toBe("pong");
  });

  it("reads a pipe to its end", async () => {
    const { read, write } = pipe();
    const stream = streamFromFd(read, { readable: true, writable: false });
    writeSync(write, "all of it");
    closeFd(write);
    expect((await collect(stream)).toString()).toBe("all of it");
    await closed(stream);
    expect(() => closeFd(read)).toThrow("EBADF");
  });

  it("waits for a slow reader: write calls back when the pipe has taken the bytes", async () => {
    const { read, write } = pipe();
    const reader = streamFromFd(read, { readable: true, writable: false });
    const writer = streamFromFd(write, { readable: false, writable: true });
    const block = Buffer.alloc(1 << 20);
    let taken = false;
    const more = writer.write(block, () => {
      taken = true;
    });
    expect(more).toBe(false);
    // The reader's own buffer and the pipe take far less than all.
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBe(false);
    writer.end();
    expect(await collect(reader)).toHaveLength(block.length);
    expect(taken).toBe(true);
  });

  it("gets the last output of a tty whose process has ended, and then the end", async () => {
    for (let i = 0; i < 5; i++) {
      const { master, slave } = openPty(24, 80);
      // More than one read of a tty gives (4 KiB), less than it holds (12 KiB), so that the process can end unread.
      const child = spawn("sh", ["-c", "stty raw; head -c 10000 /dev/zero"], { stdio: [slave, slave, slave] });
      closeFd(slave);
      await once(child, "exit");
      const stream = streamFromFd(master, BOTH);
      expect(await collect(stream)).toHaveLength(10_000);
      await closed(stream);
    }
  });

  it("stops a tty's writer while nobody reads", async () => {
    const { master, slave } = openPty(24, 80);
    const child = spawn("sh", ["-c", "stty raw; head -c 3000000 /dev/zero"], { stdio: [slave, slave, slave] });
    closeFd(slave);
    const stream = streamFromFd(master, BOTH);
    const first = await new Promise<Buffer>((resolve) => stream.once("data", resolve));
    stream.pause();
    expect(child.exitCode).toBeNull();
    const rest = collect(stream);
    stream.resume();
    expect(first.length + (await rest).length).toBe(3_000_000);
  });

  it("types into a tty", async () => {
    const { master, slave } = openPty(24, 80);
    const child = spawn("sh", ["-c", "stty -echo; echo ready; read line; echo got $line"], {
      stdio: [slave, slave, slave],
    });
    closeFd(slave);
    const stream = streamFromFd(master, BOTH);
    let output = "";
    for await (const chunk of stream) {
      output += chunk;
      if (output === "ready\r\n") stream.write("words\n");
    }
    expect(output).toBe("ready\r\ngot words\r\n");
    expect(child.exitCode ?? (await once(child, "exit"))[0]).toBe(0);
  });

  it("closes a tty when it is destroyed, and its process gets SIGHUP", async () => {
    const { master, slave } = openPty(24, 80);
    const stream = streamFromFd(master, BOTH);
    const child = spawn("setsid", ["-c", "sh", "-c", "echo ready; exec sleep 1000"], { stdio: [slave, slave, slave] });
    closeFd(slave);
    await once(stream, "data");
    stream.destroy();
    expect((await once(child, "exit"))[1]).toBe("SIGHUP");
    expect(() => closeFd(master)).toThrow("EBADF");
  });

  it("refuses what cannot be waited for, and closes it", () => {
    for (const path of ["/dev/null", "/etc/passwd", "/"]) {
      const fd = openSync(path, "r");
      expect(() => streamFromFd(fd, { readable: true, writable: false }), path).toThrow("EPERM");
      expect(() => closeFd(fd), path).toThrow("EBADF");
    }
    expect(() => streamFromFd(1_000_000, BOTH)).toThrow("EBADF");
  });
});

function closed(stream: { closed: boolean } & NodeJS.EventEmitter): Promise<unknown> {
  return stream.closed ? Promise.resolve() : once(stream, "close");
}
