import * as net from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeFrame } from "./frames.js";
import { kernelNonce } from "./handshake.js";
import { openSession } from "./session.js";
import { failure, LinkBench, LONG, until } from "./testing/link-bench.js";

let bench: LinkBench;
beforeEach(() => {
  bench = new LinkBench();
});
afterEach(() => bench.close());

describe("a peer that is no agent", () => {
  async function listen(onConnection: (socket: net.Socket) => void): Promise<string> {
    const path = join(bench.folder, "other");
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.resume();
      onConnection(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    bench.cleanups.push(() => new Promise((resolve) => server.close(resolve)));
    return path;
  }

  test.each(["unix", "serial"])("sends garbage for ever: dropped at the bound (%s)", async (scheme) => {
    let closed = false;
    const path = await listen((socket) => {
      const garbage = Buffer.alloc(64 * 1024, 0xd7);
      const more = () => {
        while (!socket.destroyed && socket.write(garbage));
      };
      socket.on("drain", more);
      socket.on("close", () => {
        closed = true;
      });
      more();
    });
    const error = await failure(openSession(`${scheme}:${path}`, { zoneId: "", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "HANDSHAKE_GARBAGE" });
    await until(() => closed);
  });

  test("says nothing: the time limit ends it", async () => {
    const path = await listen(() => {});
    const error = await failure(openSession(`unix:${path}`, { zoneId: "", timeoutMs: 100 }));
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED", reason: "HANDSHAKE_TIMEOUT" });
  });

  test("hangs up", async () => {
    const path = await listen((socket) => socket.end());
    const error = await failure(openSession(`unix:${path}`, { zoneId: "", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "LINK_LOST" });
  });

  test("speaks another version: both are in the message", async () => {
    const path = await listen((socket) => {
      socket.once("data", (bytes) => {
        const echo = Buffer.from(bytes.subarray(16 + 3 + 5, 16 + 3 + 5 + 32));
        socket.write(encodeFrame({ type: "reject", echo: kernelNonce(), min: 1, max: 1 })); // for someone else
        socket.write(encodeFrame({ type: "reject", echo, min: 4, max: 6 }));
      });
    });
    const error = await failure(openSession(`unix:${path}`, { zoneId: "", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "VERSION_MISMATCH" });
    expect(String(error)).toMatch(/bridge speaks protocol version 1, the agent versions 4 to 6: upgrade the bridge/);
  });
});
