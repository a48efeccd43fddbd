import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { envArgument, mergeEnv, parseEnvFile, parseEnviron } from "./environment.js";
import { parseCpus, parseDuration, parseMemory, parseTail } from "./quantities.js";
import { RawArguments } from "./raw-arguments.js";
import { parseSignal } from "./signal-names.js";

const MIB = 1024 * 1024;

describe("quantities", () => {
  it.each([
    ["512m", 512 * MIB],
    ["512M", 512 * MIB],
    ["512MB", 512 * MIB],
    ["512MiB", 512 * MIB],
    ["1.5g", 1536 * MIB],
    ["64 k", 65536],
    ["1", 1],
    ["100b", 100],
    ["1t", MIB * MIB],
  ])("memory %j", (text, bytes) => expect(parseMemory(text)).toBe(bytes));
  it.each(["", "m", "-1m", "0", "0.1b", "1x", "1e9", "1mm", "lots", "9999999999t", " 1m"])(
    "refuses memory %j",
    (text) => {
      expect(() => parseMemory(text)).toThrow(/^invalid memory size '/);
    },
  );

  it.each([
    ["1", 1000],
    ["1.5", 1500],
    [".5", 500],
    ["0.001", 1],
    ["2.", 2000],
    ["1024", 1_024_000],
  ])("cpus %j", (text, millis) => expect(parseCpus(text)).toBe(millis));
  it.each(["", "0", "0.0001", "-1", "1,5", "1e3", "1025", "two", "."])("refuses cpus %j", (text) => {
    expect(() => parseCpus(text)).toThrow(/^invalid number of cpus '/);
  });

  it.each([
    ["10", 10_000],
    ["0", 0],
    ["0.5", 500],
    ["500ms", 500],
    ["1m30s", 90_000],
    ["2h", 7_200_000],
    ["1.5s", 1500],
  ])("time %j", (text, ms) => expect(parseDuration(text)).toBe(ms));
  it.each(["", "-1", "soon", "1d", "1m30", "s", "99999h"])("refuses time %j", (text) => {
    expect(() => parseDuration(text)).toThrow(/^invalid time '/);
  });

  it.each([
    ["all", undefined],
    ["0", 0],
    ["100", 100],
  ])("tail %j", (text, lines) => expect(parseTail(text)).toBe(lines));
  it.each(["", "-1", "1.5", "ten", "4294967296"])("refuses tail %j", (text) => {
    expect(() => parseTail(text)).toThrow(/^invalid number of lines '/);
  });
});

describe("parseSignal", () => {
  it.each([
    ["TERM", 15],
    ["SIGTERM", 15],
    ["sigterm", 15],
    ["9", 9],
    ["64", 64],
    ["USR1", 10],
    ["RTMIN", 34],
    ["SIGRTMIN+3", 37],
    ["RTMAX-1", 63],
  ])("%j", (text, number) => expect(parseSignal(text)).toBe(number));
  it.each(["", "0", "65", "-9", "NOPE", "RTMIN+31", "RTMAX-31", "SIG"])("refuses %j", (text) => {
    expect(() => parseSignal(text)).toThrow(/^invalid signal '/);
  });
});

describe("environment", () => {
  const own = parseEnviron(Buffer.from("HOME=/root\0EMPTY=\0BYTES=\xff\n\0ODD\0", "latin1"));

  it("reads environ", () => {
    expect([...own].map(([name, value]) => [name, value.toString("latin1")])).toEqual([
      ["HOME", "/root"],
      ["EMPTY", ""],
      ["BYTES", "\xff\n"],
    ]);
  });

  it.each([
    ["A=1", "A=1"],
    ["A=", "A="],
    ["A=b=c", "A=b=c"],
    ["HOME", "HOME=/root"],
    ["EMPTY", "EMPTY="],
    ["BYTES", "BYTES=\xff\n"],
    ["NOT_SET", undefined],
  ])("-e %s", (argument, entry) => expect(envArgument(Buffer.from(argument), own)?.toString("latin1")).toBe(entry));
  it.each(["", "=1"])("refuses -e %j", (argument) => {
    expect(() => envArgument(Buffer.from(argument), own)).toThrow(/^invalid environment variable/);
  });

  it("reads env files", () => {
    const file = Buffer.from(
      '\ufeff# comment\r\nA=1\r\n\n  B = two words \n#C=3\nHOME\nNOT_SET\nQUOTED="x"\nLAST=\xff',
      "latin1",
    );
    const withMark = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), file.subarray(1)]);
    expect(() => parseEnvFile(withMark, "f", own)).toThrow(
      "invalid line 4 in f: 'B ' is not a variable's name; write NAME=value",
    );
    const good = Buffer.from(withMark.toString("latin1").replace("B = ", "B= "), "latin1");
    expect(parseEnvFile(good, "f", own).map((entry) => entry.toString("latin1"))).toEqual([
      "A=1",
      "B= two words ",
      "HOME=/root",
      'QUOTED="x"',
      "LAST=\xff",
    ]);
  });
  it.each(["=1", "A B=1", "A=\0"])("refuses the line %j", (line) => {
    expect(() => parseEnvFile(Buffer.from(line), "f", own)).toThrow(/^invalid line 1 in f: /);
  });

  it("merges by name, the last one first in right", () => {
    const layers = [["A=1", "B=1"], ["B=2", "C=1"], ["A=3"]].map((layer) => layer.map((entry) => Buffer.from(entry)));
    expect(mergeEnv(...layers).map(String)).toEqual(["A=3", "B=2", "C=1"]);
  });
});

describe("RawArguments", () => {
  const bytes = fc.array(
    fc.uint8Array({ maxLength: 6 }).map((arg) => Buffer.from(arg.map((byte) => byte || 1))),
    { maxLength: 6 },
  );
  const joined = (args: Buffer[]) => Buffer.concat(args.flatMap((arg) => [arg, Buffer.from([0])]));

  it("gives back any bytes", () => {
    fc.assert(
      fc.property(bytes, bytes, (own, rest) => {
        const all = [Buffer.from("node"), Buffer.from("zonectl"), ...own, ...rest];
        const raw = new RawArguments(
          joined(all),
          [...own, ...rest].map((arg) => arg.toString()),
        );
        expect(raw.tail(rest.map((arg) => arg.toString()))).toEqual(rest);
      }),
    );
  });

  it("finds an option's value in whatever form it was given", () => {
    const value = Buffer.from([0x41, 0x3d, 0xff]);
    for (const prefix of ["", "-e", "--env=", "-ite"]) {
      const all = [Buffer.from("node"), Buffer.concat([Buffer.from(prefix), value])];
      const raw = new RawArguments(joined(all), [all[1]?.toString() ?? ""]);
      expect(raw.value(value.toString())).toEqual(value);
    }
  });

  it("falls back on text when the two do not agree", () => {
    const raw = new RawArguments(Buffer.from("a changed title"), ["run", "ü"]);
    expect(raw.tail(["ü"])).toEqual([Buffer.from("ü")]);
    expect(raw.value("x\ufffd")).toEqual(Buffer.from("x\ufffd"));
  });
});
