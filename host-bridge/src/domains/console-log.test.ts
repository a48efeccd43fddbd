import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConsoleLog, lastLines, readConsole } from "./console-log.js";

const KIB = 1024;
let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp("/tmp/zone-console-");
  path = join(directory, "console.log");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("ConsoleLog", () => {
  it("keeps the last 64 KiB in memory, and 1 to 2 MiB in files, of a guest that writes for ever", async () => {
    const log = new ConsoleLog(path);
    const chunk = Buffer.alloc(48 * KIB);
    for (let i = 0; i < 100; i++) log.append(chunk.fill(i));
    log.append(Buffer.from("end"));
    const tail = log.tail();
    expect(tail).toHaveLength(64 * KIB);
    expect(tail.subarray(-4).toString("latin1")).toBe("cend");
    const size = (await stat(path)).size + (await stat(`${path}.1`)).size;
    expect(size).toBeGreaterThan(KIB * KIB);
    expect(size).toBeLessThan(2.1 * KIB * KIB);
    log.close();
  });

  it("goes on where an earlier one stopped", async () => {
    const first = new ConsoleLog(path);
    first.append(Buffer.from("one "));
    first.close();
    const second = new ConsoleLog(path);
    second.append(Buffer.from("two"));
    expect(second.tail().toString()).toBe("one two");
    second.close();
    expect(await readFile(path, "utf8")).toBe("one two");
  });

  it("keeps bytes as they are", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const log = new ConsoleLog("/dev/null");
        for (const chunk of chunks) log.append(Buffer.from(chunk));
        expect(log.tail()).toEqual(Buffer.concat(chunks));
        log.close();
      }),
    );
  });

  it("says so, and goes on in memory, when the file cannot be written", () => {
    const log = new ConsoleLog("/dev/full");
    log.append(Buffer.from("boot"));
    log.append(Buffer.from("more"));
    expect(log.tail().toString()).toMatch(
      /^boot\n\[bridge: cannot keep the console in \/dev\/full: ENOSPC.*\]\nmore$/s,
    );
  });
});

describe("readConsole", () => {
  it("settles with everything read when the other side has closed", async () => {
    const sent = Buffer.alloc(700 * KIB, "0123456789abcdef\n");
    const server = createServer((socket) => socket.end(sent)).listen(path.replace("log", "sock"));
    const log = new ConsoleLog(path);
    await readConsole(createConnection(path.replace("log", "sock")), log);
    expect((await readFile(path)).equals(sent)).toBe(true);
    log.close();
    server.close();
  });
});

describe("lastLines", () => {
  it("is short, printable and one line whatever the guest wrote", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9000 }), (bytes) => {
        const text = lastLines(Buffer.from(bytes));
        expect(text).toMatch(/^[ -~]*$/);
        expect(text.length).toBeLessThanOrEqual(6 * 203);
      }),
    );
  });

  it("takes the last lines that say something", () => {
    expect(lastLines(Buffer.from("a\r\nb\n\n \u0007\nc\n"), 2)).toBe("b | c");
  });
});
