import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LineSplitter } from "./line-splitter.js";
import { connectWhenThere, parseMessage, QmpClient, type QmpEvent } from "./qmp.js";

const never = new AbortController().signal;
const GREETING = '{"QMP": {"version": {}, "capabilities": []}}\r\n';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp("/tmp/zone-qmp-");
  path = join(directory, "qmp.sock");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("QmpClient", () => {
  let server: Server;
  let peer: Socket | undefined;
  afterEach(() => {
    peer?.destroy();
    server.close();
  });

  /** A monitor that greets, and answers each command with what `answer` says of it. */
  function serve(
    answer: (command: { execute: string; id: number; arguments: unknown }) => string,
    greeting = GREETING,
  ) {
    return new Promise<void>((resolve) => {
      server = createServer((socket) => {
        peer = socket;
        const lines = new LineSplitter(1 << 20);
        socket.on("error", () => {});
        socket.on("data", (chunk) => {
          for (const line of lines.push(chunk)) socket.write(answer(JSON.parse(line)));
        });
        socket.write(greeting);
      }).listen(path, resolve);
    });
  }

  const returns = (id: number, value: unknown = {}) => `${JSON.stringify({ return: value, id })}\r\n`;

  async function open(onEvent?: (event: QmpEvent) => void, timeoutMs = 30_000): Promise<QmpClient> {
    const socket = await connectWhenThere(path, 10_000, never);
    return QmpClient.open(socket, { timeoutMs, ...(onEvent && { onEvent }) });
  }

  it("negotiates, matches answers by id in any order, and passes events on", async () => {
    const held: string[] = [];
    await serve(({ execute, id }) => {
      if (execute === "slow") held.push(returns(id, "slow"));
      if (execute === "slow") return "";
      return execute === "fast" ? returns(id, "fast") + held.join("") : returns(id);
    }, `${GREETING}{"event": "EARLY", "data": {"a": 1}}\r\n`);
    const events: QmpEvent[] = [];
    const client = await open((event) => events.push(event));
    expect(await Promise.all([client.execute("slow"), client.execute("fast")])).toEqual(["slow", "fast"]);
    expect(events).toEqual([{ name: "EARLY", data: { a: 1 } }]);
    client.close();
    await client.closed;
  });

  it("says which command QEMU refused and why", async () => {
    await serve(({ execute, id }) =>
      execute === "bad" ? `{"id": ${id}, "error": {"class": "GenericError", "desc": "no such thing"}}\n` : returns(id),
    );
    await expect((await open()).execute("bad")).rejects.toMatchObject({
      reason: "QMP_FAILED",
      message: "QEMU refused bad: no such thing",
    });
  });

  it("gives up on a command after its timeout and on a peer that never greets", async () => {
    await serve(({ execute, id }) => (execute === "hang" ? "" : returns(id)));
    await expect((await open()).execute("hang", {}, 20)).rejects.toMatchObject({ reason: "QMP_TIMEOUT" });
    server.close();
    peer?.destroy();
    path = join(directory, "mute.sock");
    await serve(() => "", "");
    await expect(open(undefined, 20)).rejects.toMatchObject({ reason: "QMP_TIMEOUT" });
  });

  it("fails what waits, and everything later, when the peer closes", async () => {
    await serve(({ execute, id }) => {
      if (execute === "die") peer?.destroy();
      return returns(id);
    });
    const client = await open();
    const event = expect(client.event("an event", () => true)).rejects.toMatchObject({ reason: "QMP_CLOSED" });
    await expect(client.execute("die")).rejects.toMatchObject({ reason: "QMP_CLOSED" });
    await event;
    await client.closed;
    await expect(client.execute("more")).rejects.toMatchObject({ reason: "QMP_CLOSED" });
  });

  it.each([
    ["not JSON", "hello\n"],
    ["no message", '{"what": 1}\n'],
    ["not an object", "[1]\n"],
    ["an endless line", "x".repeat((1 << 20) + 1)],
  ])("ends the session on %s", async (_what, bytes) => {
    await serve(({ execute, id }) => (execute === "go" ? bytes : returns(id)));
    const client = await open();
    await expect(client.execute("go")).rejects.toMatchObject({ reason: "QMP_BROKEN" });
    await client.closed;
  });

  it("speaks with the real QEMU", async () => {
    const args = ["-M", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${path},server=on,wait=off`];
    const child = spawn("qemu-system-x86_64", args, { stdio: "ignore" });
    const exited = new Promise((resolve) => child.once("exit", resolve));
    server = createServer();
    try {
      const events: string[] = [];
      const client = await open((event) => events.push(event.name));
      expect(await client.execute("query-status")).toMatchObject({ running: true, status: "running" });
      await expect(client.execute("no-such-command")).rejects.toMatchObject({ reason: "QMP_FAILED" });
      const shutdown = client.event("the end", ({ name }) => name === "SHUTDOWN");
      await client.execute("quit");
      expect((await shutdown).data).toMatchObject({ guest: false, reason: "host-qmp-quit" });
      await client.closed;
      expect(events).toEqual(["SHUTDOWN"]);
    } finally {
      child.kill("SIGKILL");
      await exited;
    }
  });
});

describe("connectWhenThere", () => {
  it("waits for the socket to be made", async () => {
    const connected = connectWhenThere(path, 30_000, never);
    const server = createServer((socket) => socket.end()).listen(path);
    (await connected).destroy();
    server.close();
  });

  it("gives up at its deadline with the reason, and with the signal's", async () => {
    await expect(connectWhenThere(path, 5, never)).rejects.toMatchObject({ code: "ENOENT" });
    await expect(connectWhenThere(path, 5000, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});

describe("LineSplitter", () => {
  it("finds the same lines however the bytes are cut", () => {
    const text = fc.array(
      fc.string({ unit: "grapheme", maxLength: 20 }).filter((line) => !/[\r\n]/.test(line) && line !== ""),
    );
    fc.assert(
      fc.property(text, fc.array(fc.nat(40)), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\r\n`).join(""));
        const splitter = new LineSplitter(1000);
        const found: string[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          found.push(...splitter.push(bytes.subarray(at, at + cut)));
          at = Math.min(bytes.length, at + cut);
        }
        expect(found).toEqual(lines);
      }),
    );
  });

  it("refuses a line beyond its limit, in one piece or many", () => {
    expect(() => new LineSplitter(4).push(Buffer.from("12345\n"))).toThrow("longer than 4");
    const splitter = new LineSplitter(4);
    expect(splitter.push(Buffer.from("1234"))).toEqual([]);
    expect(() => splitter.push(Buffer.from("5"))).toThrow("longer than 4");
  });
});

describe("parseMessage", () => {
  it("throws or gives a message for any text, and never anything else", () => {
    const kinds = ["greeting", "event", "return", "error"];
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
        try {
          expect(kinds).toContain(parseMessage(line).kind);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});
