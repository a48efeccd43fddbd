import { describe, expect, it } from "vitest";
import { limitFiles } from "./cgroup.js";
import { etcFiles } from "./etc-files.js";
import { checkContainer } from "./request.js";

const rootfs = { blockSerial: "w0", fsType: "erofs" };

describe("checkContainer", () => {
  it("fills in the defaults", () => {
    expect(checkContainer({ id: "a", rootfs })).toEqual({
      ...{ id: "a", hostname: "a", blockSerial: "w0", fsType: "erofs", waitMs: 10_000, readOnly: false },
      ...{ writableBytes: undefined, hosts: [], nameservers: [] },
      limits: { cpuMillis: undefined, memoryBytes: undefined, pids: undefined },
    });
    expect(checkContainer({ id: "x".repeat(64), rootfs }).hostname).toBe("x".repeat(63));
  });

  for (const [what, request, reason] of [
    ["no disk", { id: "a" }, "INVALID_ROOTFS"],
    ["a long serial", { id: "a", rootfs: { ...rootfs, blockSerial: "s".repeat(21) } }, "INVALID_ROOTFS"],
    ["a serial with spaces", { id: "a", rootfs: { ...rootfs, blockSerial: "a b" } }, "INVALID_ROOTFS"],
    ["a long wait", { id: "a", rootfs: { ...rootfs, waitMs: 120_001 } }, "INVALID_ROOTFS"],
    ["a limit beyond 2^53", { id: "a", rootfs, limits: { memoryBytes: 2 ** 60 + 2 ** 53 } }, "INVALID_LIMIT"],
    ["a nameless host", { id: "a", rootfs, hosts: [{ address: "::1" }] }, "INVALID_HOSTNAME"],
    ["too many nameservers", { id: "a", rootfs, nameservers: Array(17).fill("::1") }, "INVALID_HOSTNAME"],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => checkContainer(request as object)).toThrow(expect.objectContaining({ reason }));
    });
  }
});

it("limits become cgroup files", () => {
  const all = { cpuMillis: 1500, memoryBytes: 1 << 28, pids: 100 };
  expect(limitFiles(all)).toEqual([
    ["cpu.max", "150000 100000"],
    ["memory.max", "268435456"],
    ["pids.max", "100"],
  ]);
  expect(limitFiles({ cpuMillis: 1, memoryBytes: undefined, pids: undefined })).toEqual([["cpu.max", "1000 100000"]]);
});

it("the files of /etc name the host, the hosts and the nameservers", () => {
  const files = etcFiles({
    hostname: "h",
    hosts: [{ address: "1.2.3.4", names: ["a", "b"] }],
    nameservers: ["9.9.9.9", "::1"],
  });
  expect(files).toEqual({
    hostname: "h\n",
    hosts: "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\th\n1.2.3.4\ta b\n",
    "resolv.conf": "nameserver 9.9.9.9\nnameserver ::1\n",
  });
});
