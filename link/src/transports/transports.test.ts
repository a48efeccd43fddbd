import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { closeFd, openPty } from "@zone/native";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openTransport } from "../transport.js";
import { findVirtioPort, openVirtioPort } from "./serial.js";
import { isHost } from "./vsock.js";

const LONG = 60_000;
let folder: string;
let cleanups: (() => unknown)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zone-link-"));
  cleanups = [() => rmSync(folder, { recursive: true })];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

describe("hvsock", () => {
  async function vmm(onConnection: (socket: net.Socket) => void): Promise<string> {
    const path = join(folder, "v.sock");
    const server = net.createServer((socket) => {
      cleanups.push(() => socket.destroy());
      socket.on("error", () => {});
      onConnection(socket);
    });
    cleanups.push(() => server.close());
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return path;
  }
  const connect = (path: string, timeoutMs = LONG, signal?: AbortSignal) =>
    openTransport({ kind: "hvsock", path, port: 1024 }, { timeoutMs, ...(signal ? { signal } : {}) });

  test("says CONNECT, and takes not a byte after the line", async () => {
    let asked = "";
    const path = await vmm((socket) => {
      socket.on("data", (bytes) => {
        asked += bytes;
      });
      socket.end("OK 1073741824\nand what follows\n");
    });
    expect(await text(await connect(path))).toBe("and what follows\n");
    expect(asked).toBe("CONNECT 1024\n");
  });

  test("takes the answer byte by byte", async () => {
    const path = await vmm(async (socket) => {
      for (const byte of "OK 5\nrest") await new Promise((resolve) => socket.write(byte, resolve));
      socket.end();
    });
    expect(await text(await connect(path))).toBe("rest");
  });

  test.each(["NO\n", "OK\n", "OK x\n", "OK 1 2\n", "ok 1\n", "\n", "OK 12345678901234567890", "O"])(
    "refuses %j",
    async (answer) => {
      const path = await vmm((socket) => socket.end(answer));
      await expect(connect(path)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "TRANSPORT_REFUSED" });
    },
  );

  test("refuses when the VMM hangs up: nothing listens", async () => {
    const path = await vmm((socket) => socket.end());
    await expect(connect(path)).rejects.toThrow("nothing listens on that port");
  });

  test("has a time limit, and can be cancelled", async () => {
    const path = await vmm(() => {});
    await expect(connect(path, 50)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const abort = new AbortController();
    const attempt = connect(path, LONG, abort.signal);
    abort.abort();
    await expect(attempt).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("openTransport", () => {
  test("says what is wrong with a socket", async () => {
    await expect(
      openTransport({ kind: "unix", path: join(folder, "none") }, { timeoutMs: LONG }),
    ).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "TRANSPORT_UNREACHABLE",
      message: expect.stringContaining("ENOENT"),
    });
  });

  test("has no vchan", async () => {
    const attempt = openTransport({ kind: "vchan", domid: 1, name: "x" }, { timeoutMs: LONG });
    await expect(attempt).rejects.toMatchObject({ code: "UNIMPLEMENTED", reason: "TRANSPORT_UNSUPPORTED" });
  });
});

describe("virtio-serial", () => {
  test("finds a port by its name", () => {
    for (const [device, name] of [
      ["vport1p1", "org.qemu.guest_agent.0"],
      ["vport2p1", "zone.link"],
    ] as const) {
      mkdirSync(join(folder, device));
      writeFileSync(join(folder, device, "name"), `${name}\n`);
    }
    expect(findVirtioPort("zone.link", { sysDir: folder, devDir: "/d" })).toBe("/d/vport2p1");
    expect(() => findVirtioPort("zone", { sysDir: folder })).toThrow("no virtio-serial port is called zone");
    expect(() => findVirtioPort("zone.link", { sysDir: join(folder, "none") })).toThrow("ENOENT");
  });

  test("opens a device that can be read and written", async () => {
    // A pty stands in for the port: a character device that gives EAGAIN while there is nothing to read.
    const { master, slave } = openPty(24, 80);
    cleanups.push(() => closeFd(slave));
    const port = await openVirtioPort(`/proc/self/fd/${slave}`, new AbortController().signal);
    cleanups.push(() => port.destroy());
    cleanups.push(() => closeFd(master));
    expect(port.readable && port.writable).toBe(true);
  });

  test("waits while nobody is at the other end, until it is aborted", async () => {
    // /dev/null gives EOF at each read, as the port does.
    const abort = new AbortController();
    const attempt = openVirtioPort("/dev/null", abort.signal);
    setImmediate(() => abort.abort());
    await expect(attempt).rejects.toMatchObject({ name: "AbortError" });
    await expect(openVirtioPort(join(folder, "none"), abort.signal)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("vsock", () => {
  test("only the host is accepted", () => {
    expect([2, 0].map(isHost)).toEqual([true, true]);
    expect([1, 3, 42, 0xffff_ffff].map(isHost)).toEqual([false, false, false, false]);
  });
});
