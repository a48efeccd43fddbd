import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { type Row, type SurfaceZone, works } from "../row.js";
import { bundleRows } from "./container-bundles.js";
import { lifeRows } from "./container-life.js";
import { containerRefusals } from "./container-refusals.js";
import { copyIn, copyOut } from "./file-calls.js";
import { withMount } from "./mount-calls.js";

const POD = 2;
const CONTAINER = 3;
const RUNNING = 2;
const MIB = 1 << 20;

const request = (...fields: string[]) => fields.map((field) => `CreateContainerRequest.${field}`);
const all = (message: string, ...fields: string[]) => fields.map((field) => `${message}.${field}`);

/** A case of a container of its own, "case", with a sleeping init. */
function has(fields: string[], name: string, wanted: object, see: (zone: SurfaceZone) => Promise<void>): Row {
  return works("Container.Create", fields, name, (zone) =>
    zone.withContainer({ id: "case", ...wanted }, () => see(zone)),
  );
}

const namesOf = ["pid", "ipc", "uts"].map((each) => `readlink /proc/self/ns/${each}`).join("; ");

/** An archive that has busybox, and is enough of a root. */
async function busybox(zone: SurfaceZone): Promise<Buffer> {
  return (await copyOut(zone, { path: "/bin/busybox", follow: true, name: "bin/busybox" })).archive;
}

export const containerRows: Row[] = [
  has(
    [
      ...request("id", "rootfs", "hostname", "limits", "hosts", "nameservers", "dns_searches", "dns_options"),
      ...request("mounts", "shm_bytes", "masked_paths", "read_only_paths", "no_new_privileges", "annotations"),
      ...request("capabilities", "rlimits"),
      ...all("Rootfs", "block_serial", "fs_type", "wait_ms", "writable_bytes"),
      ...[
        "HostEntry.address",
        "HostEntry.names",
        "PathList.paths",
        "GetContainerRequest.id",
        "ContainerStatsRequest.id",
      ],
    ],
    "makes it as it was asked for",
    {
      rootfs: { blockSerial: "w0", fsType: "erofs", waitMs: 1, writableBytes: 4 * MIB },
      hostname: "named",
      limits: { pids: 77 },
      hosts: [{ address: "10.9.8.7", names: ["far", "away"] }],
      nameservers: ["10.9.8.8"],
      dnsSearches: ["a.example"],
      dnsOptions: ["ndots:2"],
      mounts: [
        { type: "tmpfs", target: "/data", options: ["mode=0700"] },
        { type: "bind", source: "/etc", target: "/data/etc", options: ["ro"] },
      ],
      shmBytes: 2 * MIB,
      maskedPaths: { paths: ["/proc/uptime", "/home"] },
      readOnlyPaths: { paths: ["/bin"] },
      noNewPrivileges: true,
      annotations: { key: "value" },
      capabilities: { names: ["CHOWN"] },
      rlimits: [{ type: "nofile", soft: 100, hard: 200 }],
    },
    async (zone) => {
      const script = `hostname; grep far /etc/hosts; cat /etc/resolv.conf
        stat -c %a /data; test -e /data/etc/hosts; df -k /dev/shm | tail -1 | awk '{print $2}'
        wc -c < /proc/uptime; ls /home; touch /bin/x 2>/dev/null || echo ro
        touch /proc/sys/kernel/sem && echo rw; ulimit -n; ulimit -Hn
        grep -E 'NoNewPrivs|CapBnd' /proc/self/status | cut -f2`;
      expect((await zone.out(script, "case")).split("\n")).toEqual([
        ...["named", expect.stringMatching(/^10\.9\.8\.7\s+far away$/)],
        ...["nameserver 10.9.8.8", "search a.example", "options ndots:2", "700", "2048"],
        ...["0", "ro", "rw", "100", "200", "0000000000000001", "1"],
      ]);
      const { container } = await zone.bridge.container.get({ id: "case" }, zone.in());
      expect(container).toMatchObject({
        ...{ id: "case", hostname: "named", initProcessId: "case", state: RUNNING, oci: false },
        ...{ limits: { pids: 77 }, annotations: { key: "value" } },
      });
      const stats = await zone.bridge.container.stats({ id: "case" }, zone.in());
      expect(stats.writableTotalBytes).toBeGreaterThanOrEqual(4 * MIB);
      expect(stats.writableTotalBytes).toBeLessThan(8 * MIB);
    },
  ),
  has(
    [...request("rootfs"), "Rootfs.read_only"],
    "gives it a root without a writable layer, and what Docker masks",
    { rootfs: { blockSerial: "w0", fsType: "erofs", readOnly: true } },
    async (zone) => {
      const script = `touch /x 2>/dev/null || echo ro; wc -c < /proc/timer_list; cat /sys/firmware/* 2>/dev/null | wc -c
        touch /proc/sys/kernel/sem 2>/dev/null || echo ro; grep -E 'Seccomp:|CapBnd' /proc/1/status | cut -f2; hostname`;
      expect((await zone.out(script, "case")).split("\n")).toEqual([
        "ro",
        "0",
        "0",
        "ro",
        "00000000a80425fb",
        "2",
        "case",
      ]);
    },
  ),
  works("Container.Create", ["Rootfs.empty"], "gives an empty root, which CopyIn fills", async (zone) => {
    const image = await busybox(zone);
    const { container, process_ } = zone.bridge;
    await container.create({ id: "case", rootfs: { empty: true } }, zone.in());
    try {
      await copyIn(zone, { containerId: "case", path: "/" }, image);
      const init = { id: "case", containerId: "case", init: true, argv: argv("/bin/busybox", "ls", "/bin") };
      await process_.start({ spec: init }, zone.in());
      expect((await process_.wait({ id: "case" }, zone.in())).process).toMatchObject({
        exit: { code: 0 },
        stdoutBytes: 8,
      });
    } finally {
      await container.delete({ id: "case" }, zone.in());
      await process_.delete({ id: "case" }, zone.in());
    }
  }),
  works(
    "Container.Create",
    ["Rootfs.source", "Rootfs.direct"],
    "takes a mount of the zone's as the layer below, or as the root itself",
    async (zone) => {
      const image = await busybox(zone);
      const sleeps = { argv: argv("/bin/busybox", "sleep", "100000") };
      const writes = { containerId: "case", argv: argv("/bin/busybox", "touch", "/new"), id: "writes" };
      const isThere = () =>
        zone.bridge.file.stat({ path: "/run/zone/mounts/root/image/new" }, zone.in()).then(
          () => true,
          () => false,
        );
      const use = async (direct: boolean) => {
        const rootfs = { source: "zone:root/image", direct };
        const write = async () => {
          await zone.bridge.process_.start({ spec: writes }, zone.in());
          const { process } = await zone.bridge.process_.wait({ id: "writes" }, zone.in());
          await zone.bridge.process_.delete({ id: "writes" }, zone.in());
          expect(process?.exit?.code).toBe(0);
        };
        await zone.withContainer({ id: "case", rootfs }, write, sleeps);
      };
      const mount = { type: "tmpfs", target: "root" };
      await withMount(
        zone,
        mount,
        async () => {
          await zone.bridge.file.makeDirectory({ path: "/run/zone/mounts/root/image" }, zone.in());
          await copyIn(zone, { containerId: "", path: "/run/zone/mounts/root/image" }, image);
          await use(false);
          expect(await isThere()).toBe(false);
          await use(true);
          expect(await isThere()).toBe(true);
        },
        "",
      );
    },
  ),
  has(
    [...request("devices"), ...all("Device", "path", "container_path", "permissions", "mode", "uid", "gid")],
    "gives the devices that it is to have, with their rights, and no other",
    {
      devices: [
        { path: "/dev/vda", containerPath: "/dev/disks/one", permissions: "r", mode: 0o640, uid: 1000, gid: 5 },
        { path: "/dev/vdb" },
      ],
    },
    async (zone) => {
      const script = `stat -c '%a %u:%g %F' /dev/disks/one; head -c 512 /dev/disks/one | wc -c
        (echo > /dev/disks/one) 2>&1 | grep -o 'not permitted'; head -c 1 /dev/vdb | wc -c
        mknod /dev/other b $(awk '$4 == "vdc" {print $1, $2}' /proc/partitions); head -c 1 /dev/other 2>&1 | grep -o 'not permitted'
        mknod /dev/memory c 1 1; head -c 1 /dev/memory 2>&1 | grep -o 'not permitted'; head -c 1 /dev/zero | wc -c`;
      expect((await zone.out(script, "case")).split("\n")).toEqual([
        ...["640 1000:5 block special file", "512", "not permitted", "1"],
        ...["not permitted", "not permitted", "1"],
      ]);
    },
  ),
  works(
    "Container.Create",
    [...request("namespaces"), ...all("Namespaces", "pid", "ipc", "uts", "container_id")],
    "shares namespaces with another container, or with the pod",
    (zone) =>
      zone.withContainer({ id: "case", namespaces: { pid: POD, ipc: POD, uts: POD } }, async () => {
        await zone.out("echo shared > /dev/shm/x", "case");
        const ofPod = await zone.out(namesOf, "case");
        const see = `${namesOf}; cat /dev/shm/x; ps | grep -c '[s]leep 100000'`;
        await zone.withContainer({ id: "pod", namespaces: { pid: POD, ipc: POD, uts: POD } }, async () => {
          expect(await zone.out(see, "pod")).toBe(`${ofPod}\nshared\n2`);
        });
        const theirs = { pid: CONTAINER, ipc: CONTAINER, uts: CONTAINER, containerId: "case" };
        await zone.withContainer({ id: "other", namespaces: theirs }, async () => {
          expect(await zone.out(see, "other")).toBe(`${ofPod}\nshared\n2`);
        });
        const own = (await zone.out(namesOf)).split("\n");
        for (const name of own) expect(ofPod).not.toContain(name);
      }),
  ),
  has(
    [...request("seccomp", "sysctls"), "Seccomp.profile", ...all("Sysctl", "name", "value")],
    "forbids the system calls of a profile, and sets the ipc namespace's parameters",
    {
      seccomp: {
        profile: Buffer.from(
          JSON.stringify({
            defaultAction: "SCMP_ACT_ALLOW",
            syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 122 }],
          }),
        ),
      },
      sysctls: [
        { name: "kernel.shmmax", value: "123456" },
        { name: "fs/mqueue/msg_max", value: "17" },
      ],
    },
    async (zone) => {
      expect(
        await zone.out(
          "mkdir /x 2>&1 | sed 's/.*: //'; cat /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max",
          "case",
        ),
      ).toBe("Disk quota exceeded\n123456\n17");
      expect(await zone.out("cat /proc/sys/kernel/shmmax")).not.toBe("123456");
    },
  ),
  has(
    [...request("seccomp"), "Seccomp.unconfined"],
    "makes it without a filter",
    { seccomp: { unconfined: true } },
    async (zone) => {
      expect(await zone.out("grep -h Seccomp: /proc/1/status /proc/self/status | cut -f2", "case")).toBe("0\n0");
    },
  ),
  has(request("privileged"), "lets a privileged one do what it wants", { privileged: true }, async (zone) => {
    const script = `head -c 512 /dev/vda | wc -c; mkdir /m; mount -t tmpfs x /m && echo mounted; touch /proc/sys/kernel/sem
      grep -E 'Seccomp:|CapEff' /proc/self/status | cut -f2; mkdir /sys/fs/cgroup/sub && rmdir /sys/fs/cgroup/sub && echo cgroup`;
    const output = await zone.out(script, "case");
    expect(output).toMatch(/^512\nmounted\n0*1f[0-9a-f]{9}\n0\ncgroup$/);
  }),

  ...lifeRows,
  ...bundleRows,
  ...containerRefusals,
];
