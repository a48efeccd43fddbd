import { UNLIMITED } from "@zone/native";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALL_CAPABILITIES, capabilitySets, DEFAULT_CAPABILITIES, parseCapabilities } from "./capabilities.js";
import { environment } from "./environment.js";
import { decodeMeta, encodeMeta } from "./meta.js";
import { parseRlimits } from "./rlimits.js";
import { checkId, checkSpec } from "./spec.js";
import { parseStat } from "./tasks.js";

const bytes = (text: string) => Buffer.from(text);
const argv = [bytes("true")];

describe("checkSpec", () => {
  it("fills in the defaults", () => {
    expect(checkSpec({ argv })).toEqual({
      ...{ id: "", containerId: "", init: false, argv, env: [], cwd: "/", user: "", additionalGroups: [], rlimits: [] },
      ...{
        capabilities: undefined,
        noNewPrivileges: false,
        cgroup: "",
        reaper: false,
        privileged: false,
        tty: undefined,
        stdin: false,
        outputBufferBytes: 1 << 20,
      },
      ...{ outputPolicy: "block", drainGraceMs: 2000, oomScoreAdj: 0, umask: 0o022 },
    });
  });

  for (const [what, spec, reason] of [
    ["an empty argv[0]", { argv: [bytes("")] }, "ARGV_EMPTY"],
    ["NUL in argv", { argv: [bytes("a\0b")] }, "INVALID_ARGV"],
    ["NUL in env", { argv, env: [bytes("A=\0")] }, "INVALID_ENV"],
    ["a nameless variable", { argv, env: [bytes("=x")] }, "INVALID_ENV"],
    ["a relative cwd", { argv, cwd: "x" }, "CWD_NOT_FOUND"],
    ["an init without a container", { argv, init: true }, "INVALID_ID"],
    ["a group with a colon", { argv, additionalGroups: ["a:b"] }, "INVALID_USER_SPEC"],
    ["a small buffer", { argv, outputBufferBytes: 1 }, "INVALID_SIZE"],
    ["a huge buffer", { argv, outputBufferBytes: (64 << 20) + 1 }, "INVALID_SIZE"],
    ["a wild policy", { argv, outputPolicy: 3 as never }, "INVALID_SIZE"],
    ["a long grace", { argv, drainGraceMs: 600_001 }, "INVALID_SIZE"],
    ["a wild oom score", { argv, oomScoreAdj: -1001 }, "INVALID_SIZE"],
    ["a wild umask", { argv, umask: 0o1000 }, "INVALID_SIZE"],
    ["a huge window", { argv, tty: { rows: 65_536, columns: 80 } }, "INVALID_SIZE"],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => checkSpec({ ...spec, argv: [...spec.argv] } as object)).toThrow(expect.objectContaining({ reason }));
    });
  }

  it("takes ids of the given form alone", () => {
    for (const id of ["a", "A-1_.b", "0".repeat(64)]) checkId(id);
    for (const id of ["", ".a", "-a", "a/b", "a b", "a\n", "ä", "0".repeat(65)]) {
      expect(() => checkId(id)).toThrow(expect.objectContaining({ reason: "INVALID_ID" }));
    }
  });
});

describe("capabilities", () => {
  it("go by name, in any case, with or without CAP_", () => {
    expect(parseCapabilities(["CAP_CHOWN", "kill", "cap_setpcap"])).toBe(0b100100001n);
    expect(parseCapabilities(["ALL"])).toBe(ALL_CAPABILITIES);
    expect(parseCapabilities([])).toBe(0n);
    expect(ALL_CAPABILITIES).toBe((1n << 41n) - 1n);
    expect(DEFAULT_CAPABILITIES).toBe(0xa80425fbn); // as /proc/PID/status shows in a Docker container
    expect(() => parseCapabilities(["CAP_NONE"])).toThrow(expect.objectContaining({ reason: "INVALID_CAPABILITY" }));
  });

  it("are held by root alone, and inherited by nobody", () => {
    expect(capabilitySets(5n, 0)).toEqual({ bounding: 5n, permitted: 5n, effective: 5n, inheritable: 0n, ambient: 0n });
    expect(capabilitySets(5n, 7)).toEqual({ bounding: 5n, permitted: 0n, effective: 0n, inheritable: 0n, ambient: 0n });
  });
});

describe("parseRlimits", () => {
  it("knows the names, and infinity", () => {
    expect(parseRlimits([{ type: "nofile", soft: 1, hard: 2 }])).toEqual([{ resource: 7, soft: 1n, hard: 2n }]);
    const infinite = [{ resource: 4, soft: UNLIMITED, hard: UNLIMITED }];
    expect(parseRlimits([{ type: "core", unlimited: true }])).toEqual(infinite);
    expect(parseRlimits([{ type: "core", soft: 2 ** 64, hard: 2 ** 64 }])).toEqual(infinite);
  });
  for (const limits of [
    [{ type: "NOFILE" }],
    [{ type: "toString" }],
    [{ type: "core", soft: 2, hard: 1 }],
    [{ type: "core" }, { type: "core" }],
    Array.from({ length: 17 }, () => ({ type: "core" })),
  ]) {
    it(`refuses ${JSON.stringify(limits).slice(0, 60)}`, () => {
      expect(() => parseRlimits(limits)).toThrow(expect.objectContaining({ reason: "INVALID_RLIMIT" }));
    });
  }
});

describe("environment", () => {
  const text = (env: string[], home = "/home") => environment(env.map(bytes), home).map(String);
  it("sets PATH and HOME when they are absent", () => {
    expect(text([])).toEqual(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home"]);
    expect(text(["HOME=", "PATH=/x"])).toEqual(["HOME=", "PATH=/x"]);
  });
  it("takes the last value of a name", () => {
    expect(text(["A=1", "PATH=/", "A=2=3", "HOME=/", "AB=4"])).toEqual(["A=2=3", "PATH=/", "HOME=/", "AB=4"]);
  });
});

describe("meta", () => {
  const meta = {
    ...{ id: "a", containerId: "", init: false, user: "", tty: true, stdin: true, outputBufferBytes: 1 << 20 },
    ...{ outputPolicy: "drop" as const, drainGraceMs: 5, createdAt: 1.5, oomKillsBefore: 0 },
  };
  it("comes back as it was", () => expect(decodeMeta(encodeMeta(meta))).toEqual(meta));
  it("is refused when it is anything else", () => {
    for (const name of Object.keys(meta)) expect(decodeMeta(JSON.stringify({ ...meta, [name]: null }))).toBeUndefined();
    for (const other of ["", "null", "1", "{}", "[]", "{"]) expect(decodeMeta(other)).toBeUndefined();
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (input) => void decodeMeta(input)));
  });
});

describe("parseStat", () => {
  it("takes a name with anything in it", () => {
    const rest = `S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 1234 20 99 ${"0 ".repeat(28)}`;
    const expected = { state: "S", ppid: 1, cpu: 300, start: 1234, rssPages: 99 };
    expect(parseStat(`7 (a) b) ${rest}`)).toEqual({ comm: "a) b", ...expected });
  });
  it("refuses what it is not, and never throws", () => {
    for (const other of ["", "7 (a", "7 (a) S"]) expect(parseStat(other)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (input) => void parseStat(input)));
  });
});
