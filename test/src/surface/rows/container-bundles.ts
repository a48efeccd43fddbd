import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { type Row, refused, type SurfaceZone, works } from "../row.js";

const STOPPED = 4;
const CAPABILITIES = ["CAP_KILL", "CAP_CHOWN"];

/** config.json of a bundle that runs a script. */
function bundle(script: string, process: object = {}): Buffer {
  const config = {
    ociVersion: "1.0.2",
    hostname: "bundle",
    annotations: { from: "bundle" },
    process: {
      args: ["sh", "-c", script],
      env: ["PATH=/bin:/usr/bin", "FROM=bundle"],
      cwd: "/",
      user: { uid: 1000, gid: 1000 },
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      ...process,
    },
    root: { path: "rootfs" },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
    ],
    linux: {
      namespaces: ["pid", "mount", "uts", "ipc"].map((type) => ({ type })),
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 122 }],
      },
    },
  };
  return Buffer.from(JSON.stringify(config));
}

async function withBundle(zone: SurfaceZone, ociConfig: Buffer, request: object, use: () => Promise<void>) {
  const rootfs = { blockSerial: "w0", fsType: "erofs" };
  await zone.bridge.container.create({ id: "case", rootfs, ociConfig, ...request }, zone.in());
  try {
    await use();
  } finally {
    await zone.bridge.container.delete({ id: "case", force: true }, zone.in());
    await zone.bridge.process_.delete({ id: "case" }, zone.in()).catch(() => {}); // it may never have been started
  }
}

/** Cases of containers that crun makes. */
export const bundleRows: Row[] = [
  works(
    "Container.Create",
    ["oci_config", "mounts", "limits", "hosts", "nameservers"].map((field) => `CreateContainerRequest.${field}`),
    "makes a container of an OCI bundle: its init and later processes are as the bundle says",
    (zone) => {
      const script = "echo $FROM $(id -u) $(hostname); cat /etc/resolv.conf /more/f; mkdir /x; read line; exit $line";
      const more = {
        mounts: [{ type: "files", target: "/more", files: [{ path: "f", data: Buffer.from("file\n") }] }],
        limits: { pids: 66 },
        hosts: [{ address: "10.9.8.7", names: ["far"] }],
        nameservers: ["10.9.8.8"],
      };
      return withBundle(zone, bundle(script), more, async () => {
        const { container, process_ } = zone.bridge;
        const init = { id: "case", containerId: "case", init: true, stdin: true };
        await process_.start({ spec: init, hold: true }, zone.in());
        await process_.start({ id: "case" }, zone.in());
        expect((await container.get({ id: "case" }, zone.in())).container).toMatchObject({
          ...{ oci: true, hostname: "bundle", annotations: { from: "bundle" }, limits: { pids: 66 } },
        });
        const later =
          "grep -o far /etc/hosts; echo $FROM $(id -u) $(hostname); grep CapBnd /proc/self/status | cut -f2";
        expect(await zone.out(later, "case")).toBe("far\nbundle 1000 bundle\n0000000000000021");
        const ended = process_.wait({ id: "case" }, zone.in());
        const call = process_.attach(zone.in());
        const output: Buffer[] = [];
        call.on("data", (message) => {
          if (message.opened) call.write({ stdin: { offset: 0, data: Buffer.from("6\n") } });
          if (message.output?.data) output.push(Buffer.from(message.output.data));
        });
        const over = new Promise((resolve, reject) => call.on("end", resolve).on("error", reject));
        call.write({ open: { processId: "case", stdin: true } });
        expect((await ended).process?.exit).toMatchObject({ code: 6 });
        await over;
        const text = Buffer.concat(output).toString();
        expect(text).toContain("bundle 1000 bundle\nnameserver 10.9.8.8\nfile\n");
        expect(text).toContain("mkdir: can't create directory '/x'");
        expect((await container.get({ id: "case" }, zone.in())).container?.state).toBe(STOPPED);
        const again = process_.start({ spec: { containerId: "case", init: true } }, zone.in());
        await expect(again).rejects.toMatchObject({ reason: "CONTAINER_STOPPED" });
      });
    },
  ),
  ...(
    [
      ["EXEC_NOT_FOUND", "a program that is not there", { args: ["/none"] }],
      ["CRUN_FAILED", "what crun does not take", { rlimits: [{ type: "RLIMIT_NONE", soft: 1, hard: 1 }] }],
    ] as const
  ).map(([reason, name, process]) =>
    refused(
      "Container.Create",
      ["CreateContainerRequest.oci_config"],
      reason,
      `${name}, when its init starts`,
      (zone) =>
        withBundle(zone, bundle("true", process), {}, async () => {
          const spec = { id: "case", containerId: "case", init: true, argv: argv("ignored") };
          await zone.bridge.process_.start({ spec }, zone.in());
        }),
    ),
  ),
];
