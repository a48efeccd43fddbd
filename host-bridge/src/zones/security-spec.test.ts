import { describe, expect, it } from "vitest";
import { capabilitiesOf } from "./capabilities.js";
import { mainContainer, mainProcess } from "./main-spec.js";
import { checkRights, parseDevice, parseSysctl, type RightsSpec } from "./security-spec.js";

const profile = (text: string) => Buffer.from(text);

describe("checkRights", () => {
  const refused: [string, RightsSpec, string, string][] = [
    ["a capability that is none", { capAdd: ["NET_EVERYTHING"] }, "INVALID_SECURITY", "NET_EVERYTHING"],
    ["a profile that is no JSON", { security: { seccompProfile: profile("{") } }, "INVALID_SECURITY", "JSON"],
    ["a profile that is a list", { security: { seccompProfile: profile("[]") } }, "INVALID_SECURITY", "object"],
    [
      "a profile of more than 1 MiB",
      { security: { seccompProfile: Buffer.alloc(1048577) } },
      "INVALID_SECURITY",
      "1048577",
    ],
    [
      "a profile and none",
      { security: { seccompProfile: profile("{}"), seccompUnconfined: true } },
      "INVALID_SECURITY",
      "one of",
    ],
    [
      "a profile for who may do all",
      { security: { seccompProfile: profile("{}"), privileged: true } },
      "INVALID_SECURITY",
      "privileged",
    ],
    ["an unknown ulimit", { ulimits: [{ type: "files", soft: 1, hard: 1 }] }, "INVALID_LIMIT", "nofile"],
    ["a soft limit above the hard one", { ulimits: [{ type: "nofile", soft: 2, hard: 1 }] }, "INVALID_LIMIT", "nofile"],
    ["a device that is no path", { devices: ["fuse"] }, "INVALID_DEVICE", "/dev/fuse"],
    ["a device with odd rights", { devices: ["/dev/fuse:/dev/fuse:x"] }, "INVALID_DEVICE", "rwm"],
    ["a sysctl without a value", { sysctls: ["net.core.somaxconn"] }, "INVALID_LIMIT", "NAME=VALUE"],
    ["a group with a space", { groupAdd: ["a b"] }, "INVALID_SECURITY", "a b"],
    ["an OOM score out of range", { oomScoreAdj: -1001 }, "INVALID_LIMIT", "-1001"],
  ];
  it.each(refused)("refuses %s", (_, spec, reason, named) => {
    const message = expect.stringContaining(named);
    expect(() => checkRights(spec)).toThrow(expect.objectContaining({ reason, message }));
  });

  it("takes what Docker takes", () => {
    checkRights({
      capAdd: ["NET_ADMIN", "cap_sys_ptrace", "ALL"],
      security: { seccompProfile: profile('{"defaultAction":"SCMP_ACT_ALLOW"}'), noNewPrivileges: true },
      ulimits: [
        { type: "nofile", soft: 1024, hard: 2048 },
        { type: "core", unlimited: true },
      ],
      devices: ["/dev/fuse", "/dev/fuse:/dev/f", "/dev/fuse:rw", "/dev/fuse:/dev/f:r"],
      sysctls: ["net.ipv4.ip_unprivileged_port_start=0"],
      groupAdd: ["audio", "100"],
      oomScoreAdj: 500,
    });
  });
});

describe("the parts of", () => {
  it("a device", () => {
    expect(parseDevice("/dev/fuse")).toEqual({ path: "/dev/fuse", containerPath: "", permissions: "" });
    expect(parseDevice("/dev/fuse:rw")).toEqual({ path: "/dev/fuse", containerPath: "", permissions: "rw" });
    expect(parseDevice("/dev/a:/dev/b:m")).toEqual({ path: "/dev/a", containerPath: "/dev/b", permissions: "m" });
  });
  it("a sysctl", () => expect(parseSysctl("a.b=1 2=3")).toEqual({ name: "a.b", value: "1 2=3" }));
});

describe("capabilities", () => {
  it("are the default ones unless anything is said", () => expect(capabilitiesOf([], [])).toBeUndefined());
  it("are added and dropped", () => {
    const names = capabilitiesOf(["cap_net_admin"], ["CHOWN"]);
    expect(names).toContain("NET_ADMIN");
    expect(names).toContain("SETUID");
    expect(names).not.toContain("CHOWN");
  });
  it("can be all, or few", () => {
    expect(capabilitiesOf(["ALL"], ["SYS_ADMIN"])).toHaveLength(40);
    expect(capabilitiesOf(["NET_RAW"], ["ALL"])).toEqual(["NET_RAW"]);
    expect(capabilitiesOf([], ["ALL"])).toEqual([]);
  });
});

describe("rights in what the agent is asked for", () => {
  const image = { entrypoint: [], cmd: ["sh"], env: [], user: "", workingDir: "", stopSignal: "", architecture: "" };
  const spec = {
    name: "z",
    capDrop: ["ALL"],
    security: { seccompUnconfined: true, noNewPrivileges: true },
    ulimits: [{ type: "nofile", soft: 1, hard: 2 }],
    devices: ["/dev/fuse"],
    sysctls: ["a.b=1"],
    groupAdd: ["audio"],
    oomScoreAdj: 5,
    init: true,
    shmBytes: 4096,
    pidsLimit: 7,
    memoryLimitBytes: 99,
    extraHosts: ["db:10.0.0.1"],
  };
  it("are the main process's", () => {
    expect(mainProcess(spec, image)).toMatchObject({
      additionalGroups: ["audio"],
      oomScoreAdj: 5,
      reaper: true,
    });
  });
  it("are the container's", () => {
    expect(mainContainer(spec)).toMatchObject({
      seccomp: { unconfined: true },
      noNewPrivileges: true,
      capabilities: { names: [] },
      rlimits: spec.ulimits,
      devices: [{ path: "/dev/fuse" }],
      sysctls: [{ name: "a.b", value: "1" }],
      shmBytes: 4096,
      limits: { pids: 7, memoryBytes: 99 },
      hosts: [{ address: "10.0.0.1", names: ["db"] }],
    });
    expect(mainContainer({ security: { seccompProfile: Buffer.from("{}") } })).toMatchObject({
      seccomp: { profile: Buffer.from("{}") },
    });
    expect(mainContainer({ security: { privileged: true } })).toMatchObject({ privileged: true });
  });
});
