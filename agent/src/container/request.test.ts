import { describe, expect, it } from "vitest";
import { etcFiles } from "./etc-files.js";
import { checkContainer } from "./request.js";

const rootfs = { blockSerial: "w0", fsType: "erofs" };

describe("checkContainer", () => {
  it("fills in the defaults", () => {
    expect(checkContainer({ id: "a", rootfs })).toEqual({
      ...{ id: "a", hostname: "a", limits: {}, mounts: [], annotations: {} },
      ...{ hosts: [], nameservers: [], dnsSearches: [], dnsOptions: [] },
      root: {
        source: { kind: "disk", serial: "w0", fsType: "erofs", waitMs: 10_000 },
        ...{ readOnly: false, writableBytes: undefined },
      },
      kind: {
        name: "own",
        settings: {
          ...{ devices: [], seccomp: { kind: "default" }, shmBytes: 64 << 20, sysctls: [] },
          namespaces: { pid: "private", ipc: "private", uts: "private", containerId: "" },
          ...{ maskedPaths: undefined, readOnlyPaths: undefined, noNewPrivileges: false, privileged: false },
          ...{ capabilities: undefined, rlimits: [] },
        },
      },
    });
    expect(checkContainer({ id: "x".repeat(64), rootfs }).hostname).toBe("x".repeat(63));
  });

  it("takes the other roots", () => {
    const source = (more: object) => checkContainer({ id: "a", rootfs: more }).root.source;
    expect(source({ empty: true })).toEqual({ kind: "empty" });
    expect(source({ source: "zone:data/x" })).toEqual({ kind: "mount", source: "zone:data/x", direct: false });
    expect(source({ source: "zone:data", direct: true })).toEqual({ kind: "mount", source: "zone:data", direct: true });
  });

  it("takes devices, namespaces, sysctls and paths", () => {
    const { kind } = checkContainer({
      id: "a",
      rootfs,
      devices: [
        { path: "/dev/fuse" },
        { path: "/dev/vda", containerPath: "/dev/disk/x", permissions: "r", mode: 0o600 },
      ],
      namespaces: { pid: 2, ipc: 3, containerId: "b" },
      seccomp: { unconfined: true },
      sysctls: [{ name: "net/core/somaxconn", value: "1024" }],
      maskedPaths: { paths: [] },
      readOnlyPaths: { paths: ["/proc/sys"] },
    });
    expect(kind).toMatchObject({
      settings: {
        devices: [
          { path: "/dev/fuse", name: "fuse", access: "rwm", mode: undefined },
          { path: "/dev/vda", name: "disk/x", access: "r", mode: 0o600 },
        ],
        namespaces: { pid: "pod", ipc: "container", uts: "private", containerId: "b" },
        seccomp: { kind: "unconfined" },
        sysctls: [{ name: "net.core.somaxconn", value: "1024", scope: "network" }],
        maskedPaths: [],
        readOnlyPaths: ["/proc/sys"],
      },
    });
  });

  it("takes of a request with a bundle what the bundle does not say", () => {
    const ociConfig = Buffer.from('{"ociVersion":"1.0.0","hostname":"h","process":{"args":["x"],"cwd":"/"}}');
    const spec = checkContainer({ id: "a", rootfs, ociConfig, privileged: true, namespaces: { pid: 1 } });
    expect(spec).toMatchObject({ hostname: "h", kind: { name: "oci" } });
  });

  const own = (more: object) => ({ id: "a", rootfs, ...more });
  const device = (more: object) => own({ devices: [{ path: "/dev/fuse", ...more }] });
  const namespaces = (more: object) => own({ namespaces: more });
  const sysctl = (name: string, value = "1", more: object = {}) => own({ sysctls: [{ name, value }], ...more });
  for (const [what, request, reason] of [
    ["no disk", { id: "a" }, "INVALID_ROOTFS"],
    ["a long serial", own({ rootfs: { ...rootfs, blockSerial: "s".repeat(21) } }), "INVALID_ROOTFS"],
    ["a serial with spaces", own({ rootfs: { ...rootfs, blockSerial: "a b" } }), "INVALID_ROOTFS"],
    ["a long wait", own({ rootfs: { ...rootfs, waitMs: 120_001 } }), "INVALID_ROOTFS"],
    ["two roots", own({ rootfs: { ...rootfs, empty: true } }), "INVALID_ROOTFS"],
    ["a source that is no mount", own({ rootfs: { source: "/etc" } }), "INVALID_ROOTFS"],
    ["a source that leads out", own({ rootfs: { source: "zone:a/../b" } }), "INVALID_ROOTFS"],
    ["a direct disk", own({ rootfs: { ...rootfs, direct: true } }), "INVALID_ROOTFS"],
    [
      "a size of a direct root",
      own({ rootfs: { source: "zone:a", direct: true, writableBytes: 1 << 20 } }),
      "INVALID_ROOTFS",
    ],
    ["a type of an empty root", own({ rootfs: { empty: true, fsType: "erofs" } }), "INVALID_ROOTFS"],
    ["a nameless host", own({ hosts: [{ address: "::1" }] }), "INVALID_HOSTNAME"],
    ["too many nameservers", own({ nameservers: Array(17).fill("::1") }), "INVALID_HOSTNAME"],
    ["a search of two words", own({ dnsSearches: ["a b"] }), "INVALID_HOSTNAME"],
    ["a search with a line", own({ dnsSearches: ["a\nnameserver 1.2.3.4"] }), "INVALID_HOSTNAME"],
    ["an option that is none", own({ dnsOptions: ["ndots:x y"] }), "INVALID_HOSTNAME"],
    ["a mount of no type", own({ mounts: [{ type: "nfs", target: "/x" }] }), "INVALID_MOUNT"],
    ["a device outside /dev", device({ path: "/etc/passwd" }), "INVALID_DEVICE"],
    ["a device that leads out", device({ containerPath: "/dev/../x" }), "INVALID_DEVICE"],
    ["a device on the container's own", device({ containerPath: "/dev/pts/0" }), "INVALID_DEVICE"],
    ["permissions that are none", device({ permissions: "rx" }), "INVALID_DEVICE"],
    ["permissions twice", device({ permissions: "rr" }), "INVALID_DEVICE"],
    ["a set-user-ID device", device({ mode: 0o4666 }), "INVALID_DEVICE"],
    ["too many devices", own({ devices: Array(257).fill({ path: "/dev/fuse" }) }), "INVALID_DEVICE"],
    ["an unknown mode", namespaces({ pid: 4 }), "INVALID_NAMESPACE"],
    ["nobody's namespace", namespaces({ pid: 3 }), "INVALID_NAMESPACE"],
    ["a container for nothing", namespaces({ containerId: "b" }), "INVALID_NAMESPACE"],
    ["its own namespace", namespaces({ pid: 3, containerId: "a" }), "INVALID_NAMESPACE"],
    ["a name in a shared namespace", own({ hostname: "h", namespaces: { uts: 2 } }), "INVALID_NAMESPACE"],
    ["two seccomp choices", own({ seccomp: { unconfined: true, profile: Buffer.from("{}") } }), "INVALID_SECCOMP"],
    ["a bad profile", own({ seccomp: { profile: Buffer.from("{}") } }), "INVALID_SECCOMP"],
    ["a sysctl that is none", sysctl("kernel"), "INVALID_SYSCTL"],
    ["a sysctl of two lines", sysctl("kernel.sem", "1\n2"), "INVALID_SYSCTL"],
    ["a sysctl of the zone's", sysctl("vm.swappiness"), "SYSCTL_NOT_ALLOWED"],
    ["a sysctl that routes", sysctl("net.ipv4.ip_forward"), "SYSCTL_NOT_ALLOWED"],
    [
      "a sysctl of another's",
      sysctl("kernel.sem", "1", { namespaces: { ipc: 3, containerId: "b" } }),
      "SYSCTL_NOT_ALLOWED",
    ],
    ["shared memory of another's", own({ shmBytes: 1, namespaces: { ipc: 3, containerId: "b" } }), "INVALID_LIMIT"],
    ["shared memory beyond 2^53", own({ shmBytes: 2 ** 60 + 2 ** 53 }), "INVALID_LIMIT"],
    [
      "too many annotations",
      own({ annotations: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [i, ""])) }),
      "INVALID_LIMIT",
    ],
    ["a relative path", own({ maskedPaths: { paths: ["proc"] } }), "INVALID_MOUNT"],
    ["a path that leads out", own({ readOnlyPaths: { paths: ["/proc/../etc"] } }), "INVALID_MOUNT"],
    ["a bundle that is none", own({ ociConfig: Buffer.from("{}") }), "INVALID_OCI_CONFIG"],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => checkContainer(request as object)).toThrow(expect.objectContaining({ reason }));
    });
  }
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
