import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agent, api } from "../messages.js";
import { bytesToJson, enumName, eventToJson, taskToJson, zoneDetailsToJson } from "./json.js";
import { commandLine, printable, shortened } from "./printable.js";
import { ago, byteSize, formatTable, span } from "./table.js";

describe("printable", () => {
  it.each([
    ["plain ü 漢", "plain ü 漢"],
    ["a\nb\tc", "a\\nb\\tc"],
    ["\x1b[31mred", "\\x1b[31mred"],
    ["\u009b1m", "\\x9b1m"],
    ["\u202edrowssap", "\\u202edrowssap"],
  ])("%j", (text, safe) => expect(printable(text)).toBe(safe));

  it("leaves nothing that a terminal obeys", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const codes = [...printable(text)].map((c) => c.codePointAt(0) ?? 0);
        expect(codes.every((code) => code >= 0x20 && !(code >= 0x7f && code <= 0x9f))).toBe(true);
      }),
    );
  });
});

describe("commandLine", () => {
  it.each([
    [["ls", "-l"], "ls -l"],
    [["sh", "-c", "echo hi"], "sh -c 'echo hi'"],
    [["a", ""], "a ''"],
    [["it's"], "'it'\\''s'"],
    [["\x1b"], "'\\x1b'"],
  ])("%j", (argv, text) => expect(commandLine(argv.map((arg) => Buffer.from(arg)))).toBe(text));
});

describe("tables", () => {
  it("aligns columns, pads no line's end, and lets no escape through", () => {
    expect(
      formatTable(
        ["A", "LONG"],
        [
          ["x", "1"],
          ["wider", "\x1b[2J"],
        ],
      ),
    ).toBe("A      LONG\nx      1\nwider  \\x1b[2J\n");
  });
  it("paints without counting the paint", () => {
    expect(formatTable(["A", "B"], [["x", "y"]], (cell, column) => (column === 0 ? `<${cell}>` : cell))).toBe(
      "A  B\n<x>  y\n",
    );
  });
  it.each([
    [0, "less than a second"],
    [1_000, "1 second"],
    [59_999, "59 seconds"],
    [60_000, "1 minute"],
    [7_200_000, "2 hours"],
    [86_400_000 * 8, "1 week"],
    [86_400_000 * 800, "2 years"],
    [-5_000, "less than a second"],
  ])("span %d", (ms, text) => expect(span(ms)).toBe(text));
  it("ago", () => {
    expect(ago(undefined, 5)).toBe("");
    expect(ago(0, 5_000)).toBe("5 seconds ago");
  });
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [1024 * 1024 - 1, "1.0 MiB"],
    [5 * 1024 ** 3, "5.0 GiB"],
  ])("byteSize %d", (bytes, text) => expect(byteSize(bytes)).toBe(text));
  it("shortened", () => {
    expect(shortened("abcdef", 6)).toBe("abcdef");
    expect(shortened("abcdefg", 6)).toBe("abcde…");
  });
});

describe("JSON", () => {
  it("keeps bytes that are no text", () => {
    expect(bytesToJson(Buffer.from("ü"))).toBe("ü");
    expect(bytesToJson(Buffer.from([0xff]))).toEqual({ base64: "/w==" });
  });
  it("has no 64-bit objects, undefined or enum numbers in it", () => {
    const zone = api.Zone.decode(
      api.Zone.encode({
        id: "a",
        spec: { name: "n", image: "i", memoryBytes: 1024, labels: { k: "v" }, command: [Buffer.from("x")] },
        state: api.ZoneState.ZONE_STATE_ENDED,
        endCause: api.EndCause.END_CAUSE_PANIC,
        exitCode: 125,
        createdAt: { seconds: 1 },
        agentReadyAfter: { seconds: 0, nanos: 5e6 },
      }).finish(),
    );
    expect(JSON.parse(JSON.stringify(zoneDetailsToJson(zone)))).toMatchObject({
      memoryBytes: 1024,
      state: "ended",
      endCause: "panic",
      exitCode: 125,
      createdAt: "1970-01-01T00:00:01.000Z",
      startedAt: null,
      config: { command: ["x"], bootMode: "template" },
      timings: { agentReadyMs: 5, mainStartedMs: null },
    });
    const task = agent.RunningTask.decode(
      agent.RunningTask.encode({ pid: 5, cpuMs: 7, rssKib: 9, command: Buffer.from("c") }).finish(),
    );
    expect(taskToJson(task)).toMatchObject({ zonePid: 5, cpuMs: 7, rssKib: 9, command: "c" });
    expect(eventToJson({ type: "created" })).toEqual({ time: null, type: "created", zone: null, lost: 0 });
  });
  it("names enums", () => {
    expect(enumName(api.EndCause, "END_CAUSE_", api.EndCause.END_CAUSE_START_FAILED)).toBe("start-failed");
    expect(enumName(api.EndCause, "END_CAUSE_", 99)).toBe("unknown");
  });
});
