import { spawnSync } from "node:child_process";
import { constants, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { closeFd, memfd } from "./descriptors.js";
import { attachDevicePolicy, type DeviceRule, detachDevicePolicy, MAX_DEVICE_RULES } from "./devices.js";
import { makeNode } from "./system.js";
import { caught } from "./testing/caught.js";

/** Where cgroup2 is mounted, and whether the kernel takes programs for it. */
const cgroups = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1];
const usable = (() => {
  if (process.getuid?.() !== 0 || !cgroups) return false;
  const path = join(cgroups, `zone-devices-probe-${process.pid}`);
  try {
    mkdirSync(path);
    const fd = openSync(path, constants.O_RDONLY);
    attachDevicePolicy(fd, [], true);
    closeFd(fd);
    return true;
  } catch {
    return false;
  } finally {
    if (existsSync(path)) rmdirSync(path);
  }
})();

const rule = (allow: boolean, type: DeviceRule["type"], numbers: string, access: string): DeviceRule => {
  const [major, minor] = numbers.split(":").map((part) => (part === "*" ? undefined : Number(part)));
  return { allow, type, access, ...(major === undefined ? {} : { major }), ...(minor === undefined ? {} : { minor }) };
};

describe("device rules", () => {
  it("are refused when they say nothing", () => {
    for (const bad of [
      rule(true, "c", "1:3", ""),
      rule(true, "c", "1:3", "x"),
      rule(true, "c", "1:3", "R"),
      rule(true, "p" as "c", "1:3", "r"),
      rule(true, "c", "-1:3", "r"),
      rule(true, "c", "1:4294967296", "r"),
      rule(true, "c", "1.5:3", "r"),
    ])
      expect(caught(() => attachDevicePolicy(0, [bad], false))).toMatchObject({ code: "EINVAL", syscall: "bpf" });
    const many = Array.from({ length: MAX_DEVICE_RULES + 1 }, () => rule(true, "c", "1:3", "r"));
    expect(caught(() => attachDevicePolicy(0, many, false))).toMatchObject({ code: "E2BIG" });
  });
});

describe.skipIf(!usable)("a device policy (needs root, cgroup2 and bpf)", { timeout: 60_000 }, () => {
  let nodes: string;
  let group: string;
  let groupFd: number;
  beforeAll(() => {
    nodes = mkdtempSync(join(tmpdir(), "zone-devices-"));
    for (const [name, minor] of [
      ["null", 3],
      ["zero", 5],
      ["full", 7],
    ] as const)
      makeNode(join(nodes, name), constants.S_IFCHR | 0o666, 1, minor);
  });
  afterAll(() => rmSync(nodes, { recursive: true }));
  beforeEach(() => {
    group = mkdtempSync(join(cgroups ?? "", "zone-devices-"));
    groupFd = openSync(group, constants.O_RDONLY | constants.O_DIRECTORY);
  });
  afterEach(() => {
    closeFd(groupFd);
    rmdirSync(group);
  });

  /** Runs a shell in the cgroup; whether it succeeded. */
  function inGroup(script: string): boolean {
    const result = spawnSync("/bin/sh", ["-c", `echo 0 > ${group}/cgroup.procs && cd ${nodes} && { ${script}; }`]);
    expect(result.error).toBeUndefined();
    return result.status === 0;
  }
  const reads = (name: string) => inGroup(`: < ${name}`);
  const writes = (name: string) => inGroup(`: > ${name}`);
  const readsAndWrites = (name: string) => inGroup(`: <> ${name}`);
  const makes = (minor: number) => inGroup(`mknod made c 1 ${minor} && rm made`);

  it("allows what is listed, kind by kind", () => {
    attachDevicePolicy(
      groupFd,
      [
        rule(true, "c", "1:3", "rw"),
        rule(true, "c", "1:5", "r"),
        rule(true, "c", "1:5", "w"),
        rule(true, "c", "*:*", "m"),
        rule(true, "c", "1:7", "r"),
      ],
      false,
    );
    expect([reads("null"), writes("null"), readsAndWrites("null")]).toEqual([true, true, true]);
    // Two rules together allow both kinds.
    expect([reads("zero"), writes("zero"), readsAndWrites("zero")]).toEqual([true, true, true]);
    expect([reads("full"), writes("full"), readsAndWrites("full")]).toEqual([true, false, false]);
    expect(makes(9)).toBe(true);
  });

  it("denies with the first rule that matches", () => {
    attachDevicePolicy(groupFd, [rule(false, "c", "1:7", "w"), rule(true, "a", "*:*", "rwm")], false);
    // The later rule allows everything, but a kind that is denied stays so, also as a part of what is asked for.
    expect([reads("full"), writes("full"), readsAndWrites("full")]).toEqual([true, false, false]);
    expect([readsAndWrites("null"), makes(7)]).toEqual([true, true]);
    attachDevicePolicy(groupFd, [rule(false, "c", "1:*", "m"), rule(false, "b", "1:3", "rwm")], true);
    expect([readsAndWrites("full"), readsAndWrites("null"), makes(7)]).toEqual([true, true, false]);
    attachDevicePolicy(groupFd, [rule(false, "a", "*:*", "rwm"), rule(true, "c", "1:3", "rwm")], true);
    expect(reads("null")).toBe(false);
  });

  it("replaces its own and leaves those of others", () => {
    attachDevicePolicy(groupFd, [], false);
    expect(reads("null")).toBe(false);
    for (let i = 0; i < 100; i++) attachDevicePolicy(groupFd, [rule(true, "c", "1:3", "r")], false);
    expect([reads("null"), reads("zero")]).toEqual([true, false]);
    detachDevicePolicy(groupFd);
    detachDevicePolicy(groupFd);
    expect([reads("null"), reads("zero")]).toEqual([true, true]);
  });

  it("takes as many rules as it says, each of them", () => {
    const rules = Array.from({ length: MAX_DEVICE_RULES - 1 }, (_, i) =>
      rule(true, "b", `${4000 - (i % 500)}:${4294967295 - i}`, ["r", "w", "m", "rw"][i % 4] ?? "r"),
    );
    attachDevicePolicy(groupFd, [...rules, rule(true, "c", "1:5", "r")], false);
    expect([reads("zero"), reads("null")]).toEqual([true, false]);
  });

  it("is verified by the kernel whatever the rules are", () => {
    const number = fc.option(fc.nat({ max: 0xffff_ffff }), { nil: undefined });
    const anyRule = fc.record({
      allow: fc.boolean(),
      type: fc.constantFrom("a" as const, "b" as const, "c" as const),
      major: number,
      minor: number,
      access: fc.constantFrom("r", "w", "m", "rw", "rm", "wm", "rwm"),
    });
    const asRule = ({
      major,
      minor,
      ...rest
    }: { major: number | undefined; minor: number | undefined } & Omit<DeviceRule, "major" | "minor">) => ({
      ...rest,
      ...(major === undefined ? {} : { major }),
      ...(minor === undefined ? {} : { minor }),
    });
    fc.assert(
      fc.property(fc.array(anyRule, { maxLength: 20 }), fc.boolean(), (rules, defaultAllow) => {
        attachDevicePolicy(groupFd, rules.map(asRule), defaultAllow);
      }),
    );
  });

  it("says what is no cgroup", () => {
    const file = memfd("none", Buffer.alloc(1));
    expect(caught(() => attachDevicePolicy(file, [], true))).toMatchObject({ code: "EBADF", syscall: "bpf" });
    expect(caught(() => detachDevicePolicy(file))).toMatchObject({ code: "EBADF", syscall: "bpf" });
    closeFd(file);
  });
});
