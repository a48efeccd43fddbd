import { argv } from "../../harness/exec.js";
import { type Row, refused, type SurfaceZone } from "../row.js";

const OUT_OF_RANGE = 2 ** 60;
const CONTAINER = 3;

const request = (...fields: string[]) => fields.map((field) => `CreateContainerRequest.${field}`);
const rootfs = (...fields: string[]) => [...request("rootfs"), ...fields.map((field) => `Rootfs.${field}`)];
const device = (field: string) => [...request("devices"), `Device.${field}`];
const namespaces = (...fields: string[]) => [...request("namespaces"), ...fields.map((field) => `Namespaces.${field}`)];
const disk = (more: object) => ({ rootfs: { blockSerial: "w0", fsType: "erofs", ...more } });
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** [fields, reason, what is wrong, the request's difference to a good one of id "wrong"]. */
const refusals: [fields: string[], reason: string, name: string, request: object][] = [
  [request("id"), "INVALID_ID", "an id with a slash", { id: "../x" }],
  [request("id"), "CONTAINER_EXISTS", "an id that is taken", { id: "main" }],
  [request("rootfs"), "INVALID_ROOTFS", "no root", { rootfs: {} }],
  [rootfs("block_serial"), "INVALID_ROOTFS", "a serial of 21 characters", disk({ blockSerial: "x".repeat(21) })],
  [rootfs("block_serial", "wait_ms"), "DEVICE_NOT_FOUND", "no such disk", disk({ blockSerial: "x", waitMs: 50 })],
  [rootfs("fs_type"), "INVALID_ROOTFS", "an image of another type", disk({ fsType: "ext4" })],
  [rootfs("fs_type"), "MOUNT_FAILED", "an image that is of another type", disk({ fsType: "squashfs" })],
  [rootfs("wait_ms"), "INVALID_ROOTFS", "a wait of an hour", disk({ waitMs: 3_600_000 })],
  [rootfs("writable_bytes"), "INVALID_ROOTFS", "a layer of a byte", disk({ writableBytes: 1 })],
  [rootfs("source"), "SOURCE_NOT_FOUND", "no such mount of the zone", { rootfs: { source: "zone:none" } }],
  [rootfs("source"), "INVALID_ROOTFS", "a folder of the zone", { rootfs: { source: "/etc" } }],
  [rootfs("direct"), "INVALID_ROOTFS", "a disk that is to be the root itself", disk({ direct: true })],
  [rootfs("empty"), "INVALID_ROOTFS", "a root that is empty and is not", disk({ empty: true })],
  [request("hostname"), "INVALID_HOSTNAME", "a host name with a space", { hostname: "a b" }],
  [request("limits"), "INVALID_LIMIT", "a limit that is none", { limits: { cpuWeight: 10_001 } }],
  [request("hosts"), "INVALID_HOSTNAME", "a name for no address", { hosts: [{ address: "x", names: ["a"] }] }],
  [
    ["HostEntry.address"],
    "INVALID_HOSTNAME",
    "a network's address",
    { hosts: [{ address: "10.0.0.0/8", names: ["a"] }] },
  ],
  [["HostEntry.names"], "INVALID_HOSTNAME", "an address without names", { hosts: [{ address: "10.0.0.1" }] }],
  [request("nameservers"), "INVALID_HOSTNAME", "a name server by name", { nameservers: ["dns.example"] }],
  [request("dns_searches"), "INVALID_HOSTNAME", "a domain of two lines", { dnsSearches: ["a\nnameserver 10.0.0.1"] }],
  [request("dns_options"), "INVALID_HOSTNAME", "an option that is none", { dnsOptions: ["ndots: 1"] }],
  [request("oci_config"), "INVALID_OCI_CONFIG", "a bundle's half", { ociConfig: Buffer.from("{") }],
  [
    request("oci_config"),
    "INVALID_OCI_CONFIG",
    "a bundle without a process",
    { ociConfig: json({ ociVersion: "1.0.2" }) },
  ],
  [request("mounts"), "INVALID_MOUNT", "a mount over the root", { mounts: [{ type: "tmpfs", target: "/" }] }],
  [
    request("mounts"),
    "SOURCE_NOT_FOUND",
    "a second mount of nothing",
    {
      mounts: [
        { type: "tmpfs", target: "/a" },
        { type: "bind", source: "/none", target: "/b" },
      ],
    },
  ],
  [device("path"), "DEVICE_NOT_FOUND", "a device that the zone has not", { devices: [{ path: "/dev/none" }] }],
  [device("path"), "INVALID_DEVICE", "a path out of /dev", { devices: [{ path: "/dev/../etc/hosts" }] }],
  [
    device("container_path"),
    "INVALID_DEVICE",
    "a node in the place of another",
    { devices: [{ path: "/dev/kmsg", containerPath: "/dev/null" }] },
  ],
  [device("permissions"), "INVALID_DEVICE", "other rights", { devices: [{ path: "/dev/kmsg", permissions: "x" }] }],
  [device("uid"), "INVALID_DEVICE", "no user as its owner", { devices: [{ path: "/dev/kmsg", uid: 2 ** 32 - 1 }] }],
  [device("gid"), "INVALID_DEVICE", "no group as its owner", { devices: [{ path: "/dev/kmsg", gid: 2 ** 32 - 1 }] }],
  [device("mode"), "INVALID_DEVICE", "a setuid node", { devices: [{ path: "/dev/kmsg", mode: 0o4666 }] }],
  [namespaces("pid"), "INVALID_NAMESPACE", "a mode that there is not", { namespaces: { pid: 9 } }],
  [namespaces("ipc"), "INVALID_NAMESPACE", "nobody's", { namespaces: { ipc: CONTAINER } }],
  [
    namespaces("uts"),
    "INVALID_NAMESPACE",
    "a name for somebody else's",
    { hostname: "x", namespaces: { uts: CONTAINER, containerId: "main" } },
  ],
  [
    namespaces("container_id"),
    "CONTAINER_UNKNOWN",
    "those of an unknown container",
    { namespaces: { pid: CONTAINER, containerId: "none" } },
  ],
  [request("seccomp"), "INVALID_SECCOMP", "no filter and one", { seccomp: { unconfined: true, profile: json({}) } }],
  [["Seccomp.profile"], "INVALID_SECCOMP", "broken JSON", { seccomp: { profile: Buffer.from("{") } }],
  [
    ["Seccomp.profile"],
    "INVALID_SECCOMP",
    "an action that there is not",
    { seccomp: { profile: json({ defaultAction: "SCMP_ACT_MAYBE" }) } },
  ],
  [request("shm_bytes"), "INVALID_LIMIT", "a size that cannot be counted", { shmBytes: OUT_OF_RANGE }],
  [
    request("shm_bytes"),
    "INVALID_LIMIT",
    "/dev/shm of another's",
    { shmBytes: 1, namespaces: { ipc: CONTAINER, containerId: "main" } },
  ],
  [["Sysctl.name"], "SYSCTL_NOT_ALLOWED", "what is the zone's", { sysctls: [{ name: "vm.swappiness", value: "1" }] }],
  [["Sysctl.name"], "INVALID_SYSCTL", "a name that is none", { sysctls: [{ name: "net/../vm/x", value: "1" }] }],
  [
    [...request("sysctls"), "Sysctl.value"],
    "INVALID_SYSCTL",
    "a value that the kernel refuses",
    { sysctls: [{ name: "net.core.somaxconn", value: "many" }] },
  ],
  [request("masked_paths"), "INVALID_MOUNT", "a relative path", { maskedPaths: { paths: ["proc"] } }],
  [
    [...request("read_only_paths"), "PathList.paths"],
    "INVALID_MOUNT",
    "a path that leads out",
    { readOnlyPaths: { paths: ["/a/../.."] } },
  ],
  [
    request("annotations"),
    "INVALID_LIMIT",
    "more annotations than are kept",
    { annotations: Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`a${index}`, ""])) },
  ],
  [request("capabilities"), "INVALID_CAPABILITY", "a capability that is none", { capabilities: { names: ["CAP_X"] } }],
  [request("rlimits"), "INVALID_RLIMIT", "a limit that is none", { rlimits: [{ type: "none" }] }],
];

/** A request that is refused and makes nothing. */
function wrong([fields, reason, name, different]: (typeof refusals)[number]): Row {
  return refused(
    "Container.Create",
    fields,
    reason,
    name,
    (zone) => zone.bridge.container.create({ id: "wrong", ...disk({}), ...different }, zone.in()),
    async (zone) => {
      const { containers } = await zone.bridge.container.list({}, zone.in());
      if (containers.length !== 1) throw new Error(`there are ${containers.map(({ id }) => id).join()}`);
    },
  );
}

const calls = {
  Get: (zone: SurfaceZone, of: object) => zone.bridge.container.get(of, zone.in()),
  Pause: (zone: SurfaceZone, of: object) => zone.bridge.container.pause(of, zone.in()),
  Resume: (zone: SurfaceZone, of: object) => zone.bridge.container.resume(of, zone.in()),
  Update: (zone: SurfaceZone, of: object) => zone.bridge.container.update(of, zone.in()),
  Stats: (zone: SurfaceZone, of: object) => zone.bridge.container.stats(of, zone.in()),
  Kill: (zone: SurfaceZone, of: object) => zone.bridge.container.kill(of, zone.in()),
  Delete: (zone: SurfaceZone, of: object) => zone.bridge.container.delete(of, zone.in()),
};
const idOf = (name: string) => (name === "Stats" ? "ContainerStatsRequest.id" : `${name}ContainerRequest.id`);

/** What each call about a container refuses, and what Create does. */
export const containerRefusals: Row[] = [
  ...refusals.map(wrong),
  ...Object.entries(calls).map(([name, call]) =>
    refused(`Container.${name}`, [idOf(name)], "CONTAINER_UNKNOWN", "an unknown container", (zone) =>
      call(zone, { id: "none" }),
    ),
  ),
  refused("Container.Resume", [], "CONTAINER_NOT_PAUSED", "one that runs", (zone) =>
    calls.Resume(zone, { id: "main" }),
  ),
  refused("Container.Delete", [], "CONTAINER_RUNNING", "one that runs", (zone) => calls.Delete(zone, { id: "main" })),
  refused("Container.Update", ["UpdateContainerRequest.limits"], "INVALID_LIMIT", "a limit that is none", (zone) =>
    calls.Update(zone, { id: "main", limits: { cpusetCpus: "all" } }),
  ),
  refused("Container.Kill", ["KillContainerRequest.signal"], "INVALID_SIGNAL", "a signal that there is not", (zone) =>
    calls.Kill(zone, { id: "main", signal: 65 }),
  ),
  ...(["Pause", "Kill"] as const).map((name) =>
    refused(`Container.${name}`, [], "CONTAINER_NOT_RUNNING", "one that has no init", async (zone) => {
      await zone.bridge.container.create({ id: "case", rootfs: { empty: true } }, zone.in());
      try {
        await calls[name](zone, { id: "case" });
      } finally {
        await zone.bridge.container.delete({ id: "case" }, zone.in());
      }
    }),
  ),
  refused(
    "Container.Create",
    namespaces("container_id"),
    "CONTAINER_NOT_RUNNING",
    "those of one without init",
    async (zone) => {
      await zone.bridge.container.create({ id: "case", rootfs: { empty: true } }, zone.in());
      try {
        const shares = { pid: CONTAINER, containerId: "case" };
        await zone.bridge.container.create({ id: "wrong", rootfs: { empty: true }, namespaces: shares }, zone.in());
      } finally {
        await zone.bridge.container.delete({ id: "case" }, zone.in());
      }
    },
  ),
  refused(
    "Container.Create",
    rootfs("empty"),
    "EXEC_NOT_FOUND",
    "an init that is not in it, at its start",
    async (zone) => {
      await zone.bridge.container.create({ id: "case", rootfs: { empty: true } }, zone.in());
      try {
        await zone.bridge.process_.start({ spec: { containerId: "case", init: true, argv: argv("sh") } }, zone.in());
      } finally {
        await zone.bridge.container.delete({ id: "case", force: true }, zone.in());
      }
    },
  ),
];
