import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isRoot, ZONE_INIT } from "./testing/foreground.js";

/** In an ipc namespace of its own, and then `look` in the same. */
const set = (settings: string[], look = "cat /proc/sys/kernel/shmmax /proc/sys/kernel/sem") => {
  const script = `"$0" --sysctl "$@"; code=$?; ${look}; exit $code`;
  const { status, stdout, stderr } = spawnSync("unshare", ["--ipc", "sh", "-c", script, ZONE_INIT, ...settings], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
};

describe.skipIf(!isRoot)("zone-init --sysctl (needs root)", () => {
  it("sets parameters of its namespaces, with names as sysctl(8) has them", () => {
    const before = readFileSync("/proc/sys/kernel/shmmax", "utf8");
    expect(set(["kernel.shmmax=4097", "kernel.sem=250 32000 32 99"])).toEqual({
      status: 0,
      stdout: "4097\n250\t32000\t32\t99\n",
      stderr: "",
    });
    expect(readFileSync("/proc/sys/kernel/shmmax", "utf8")).toBe(before);
    expect(set(["net.ipv4.conf.eth0/1.none=1"], "true").stderr).toBe(
      "zone-init: net.ipv4.conf.eth0/1.none: No such file or directory (errno 2)\n",
    );
  });

  it("says which is refused, and why, in one line, and stops there", () => {
    for (const [setting, why] of [
      ["kernel.sem=many", "kernel.sem: Invalid argument (errno 22)"],
      ["kernel.shmmax=1 2", "kernel.shmmax: Invalid argument (errno 22)"],
      ["kernel.nothing=1", "kernel.nothing: No such file or directory (errno 2)"],
      ["kernel=1", "kernel: Is a directory (errno 21)"],
    ] as const) {
      const { status, stdout, stderr } = set(["kernel.shmmax=4097", setting, "kernel.shmmax=4099"], "true");
      expect([status, stdout, stderr]).toEqual([1, "", `zone-init: ${why}\n`]);
    }
    expect(set(["kernel.shmmax=4097", "kernel.nothing=1", "kernel.shmmax=4099"]).stdout).toMatch(/^4097\n/);
  });

  it("refuses names that lead out of /proc/sys, and what is no setting", () => {
    for (const name of ["", ".kernel", "kernel.", "kernel..shmmax", "kernel.//.self", "//", "k".repeat(5000)]) {
      expect(set([`${name}=1`], "true")).toMatchObject({ status: 1, stderr: expect.stringContaining("(errno 22)\n") });
    }
    expect(set(["kernel.shmmax"], "true")).toEqual({
      ...{ status: 1, stdout: "" },
      stderr: "zone-init: kernel.shmmax: Invalid argument (errno 22)\n",
    });
    expect(spawnSync(ZONE_INIT, ["--sysctl"]).status).toBe(64);
  });
});
