import fc from "fast-check";
import { expect, it } from "vitest";
import { parseSysctlName } from "./sysctl-names.js";

it("reads names with dots and with slashes", () => {
  const shmmax = { name: "kernel.shmmax", file: "kernel/shmmax", scope: "ipc" };
  expect(parseSysctlName("kernel.shmmax")).toEqual(shmmax);
  expect(parseSysctlName("kernel/shmmax")).toEqual(shmmax);
  const vlan = { name: "net.ipv4.conf.eth0/1.mtu", file: "net/ipv4/conf/eth0.1/mtu", scope: "zone" };
  expect(parseSysctlName("net.ipv4.conf.eth0/1.mtu")).toEqual(vlan);
  expect(parseSysctlName("net/ipv4/conf/eth0.1/mtu")).toEqual(vlan);
});

it("tells what belongs to a namespace", () => {
  for (const [name, scope] of [
    ["fs.mqueue.msg_max", "ipc"],
    ["kernel.sem", "ipc"],
    ["net.core.somaxconn", "network"],
    ["net.ipv4.ip_forward", "zone"],
    ["kernel.core_pattern", "zone"],
    ["kernel.hostname", "zone"],
    ["vm.overcommit_memory", "zone"],
  ] as const) {
    expect(parseSysctlName(name)?.scope).toBe(scope);
  }
});

it("refuses what is no name", () => {
  const bad = [
    "",
    "kernel",
    "a..b",
    "/kernel/sem",
    "../x/y",
    "a/../b",
    "a/./b",
    "a/b\0",
    "a/b c",
    `a.${"b".repeat(130)}`,
  ];
  for (const text of bad) expect(parseSysctlName(text)).toBeUndefined();
});

it("never leads out of /proc/sys", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(".", "/", "a", "-", "\0") }), (text) => {
      const parsed = parseSysctlName(text);
      if (!parsed) return;
      expect(parsed.file.startsWith("/")).toBe(false);
      expect(parsed.file.split("/").some((component) => ["", ".", ".."].includes(component))).toBe(false);
    }),
  );
});
