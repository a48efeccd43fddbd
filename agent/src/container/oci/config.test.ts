import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bundleConfig, checkOciConfig } from "./config.js";
import { formatExactJson, parseExactJson } from "./exact-json.js";

const process = { args: ["sh"], cwd: "/" };
const config = { ociVersion: "1.0.2", process, root: { path: "rootfs" }, linux: {} };
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

describe("exact JSON", () => {
  it("keeps integers of 64 bits, and digits in texts", () => {
    const text =
      '{"hard":18446744073709551615,"low":-9223372036854775808,"text":"18446744073709551615 \\" 9","n":[1.5e3,0.12345678901234567890]}';
    const value = parseExactJson(text);
    expect(value).toMatchObject({ hard: 2n ** 64n - 1n, low: -(2n ** 63n), n: [1500, 0.12345678901234568] });
    expect(formatExactJson(value)).toContain('"hard":18446744073709551615,"low":-9223372036854775808');
    expect(formatExactJson(value)).toContain('"text":"18446744073709551615 \\" 9"');
  });

  it("reads and writes what JSON does", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(JSON.parse(formatExactJson(parseExactJson(text)))).toEqual(JSON.parse(text));
      }),
    );
  });
});

describe("an OCI bundle's config", () => {
  it("is read with its defaults", () => {
    expect(checkOciConfig(bytes(config))).toEqual({
      json: config,
      process: {
        ...{ args: ["sh"], env: [], terminal: false, consoleSize: undefined, noNewPrivileges: false },
        ...{ user: { uid: 0, gid: 0, additionalGids: [] }, capabilities: undefined, seccomp: undefined },
      },
      ...{ readOnly: false, annotations: {}, hostname: "" },
    });
  });

  it("gives what later processes have by default", () => {
    const full = {
      ...config,
      hostname: "box",
      annotations: { a: "b" },
      root: { path: "/elsewhere", readonly: true },
      process: {
        ...process,
        terminal: true,
        consoleSize: { height: 24, width: 80 },
        env: ["A=1", "B"],
        user: { uid: 7, gid: 8, additionalGids: [9] },
        noNewPrivileges: true,
        capabilities: { bounding: ["CAP_KILL"] },
      },
      linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } },
    };
    expect(checkOciConfig(bytes(full))).toMatchObject({
      process: {
        ...{ env: ["A=1"], terminal: true, consoleSize: { rows: 24, columns: 80 }, noNewPrivileges: true },
        ...{ user: { uid: 7, gid: 8, additionalGids: [9] }, capabilities: ["CAP_KILL"] },
        seccomp: { defaultAction: "SCMP_ACT_ALLOW" },
      },
      ...{ readOnly: true, annotations: { a: "b" }, hostname: "box" },
    });
  });

  it("gets a root and a cgroup from the agent, and is else as it was", () => {
    const theirs = checkOciConfig(
      Buffer.from(
        '{"ociVersion":"1.0.0","process":{"args":["x"],"cwd":"/","rlimits":[{"hard":18446744073709551615}]},"root":{"path":"/"},"linux":{"cgroupsPath":"/agent","devices":[]},"hooks":{}}',
      ),
    );
    const place = { rootfs: "/c/rootfs", readOnly: true, cgroupsPath: "/zone/c" };
    expect(bundleConfig(theirs, place)).toBe(
      '{"ociVersion":"1.0.0","process":{"args":["x"],"cwd":"/","rlimits":[{"hard":18446744073709551615}]},"root":{"path":"/c/rootfs","readonly":true},"linux":{"devices":[],"cgroupsPath":"/zone/c"},"hooks":{}}',
    );
    expect(JSON.parse(bundleConfig(theirs, { ...place, cgroupsPath: undefined })).linux).toEqual({ devices: [] });
  });

  for (const [what, value] of [
    ["a list", []],
    ["no version", { ...config, ociVersion: undefined }],
    ["another version", { ...config, ociVersion: "2.0.0" }],
    ["no process", { ...config, process: undefined }],
    ["no arguments", { ...config, process: { cwd: "/", args: [] } }],
    ["an empty program", { ...config, process: { cwd: "/", args: [""] } }],
    ["a relative cwd", { ...config, process: { args: ["sh"], cwd: "home" } }],
    ["arguments that are no texts", { ...config, process: { cwd: "/", args: [1] } }],
    ["a NUL", { ...config, process: { cwd: "/", args: ["a\0b"] } }],
    ["a user by name", { ...config, process: { ...process, user: { uid: "root" } } }],
    ["no uid", { ...config, process: { ...process, user: { uid: 0xffff_ffff } } }],
    ["a terminal of text", { ...config, process: { ...process, terminal: "yes" } }],
    ["mounts that are no list", { ...config, mounts: {} }],
    ["linux that is no object", { ...config, linux: [] }],
    ["annotations of numbers", { ...config, annotations: { a: 1 } }],
    ["a seccomp listener", { ...config, linux: { seccomp: { defaultAction: "SCMP_ACT_NOTIFY" } } }],
  ] as const) {
    it(`is refused with ${what}`, () => {
      expect(() => checkOciConfig(bytes(value))).toThrow(expect.objectContaining({ reason: "INVALID_OCI_CONFIG" }));
    });
  }

  it("is refused when it is no JSON, too large, or nested too deeply to be written", () => {
    for (const text of ["", "{", `{"ociVersion":"1.0.0"${" ".repeat(1 << 20)}}`])
      expect(() => checkOciConfig(Buffer.from(text))).toThrow(
        expect.objectContaining({ reason: "INVALID_OCI_CONFIG" }),
      );
    const deep = `{"ociVersion":"1.0.0","process":{"args":["x"],"cwd":"/"},"x":${"[".repeat(4e5)}${"]".repeat(4e5)}}`;
    const place = { rootfs: "/r", readOnly: false, cgroupsPath: undefined };
    expect(() => bundleConfig(checkOciConfig(Buffer.from(deep)), place)).toThrow(
      expect.objectContaining({ reason: "INVALID_OCI_CONFIG" }),
    );
  });
});
