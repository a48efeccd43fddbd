import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { type Row, works } from "../row.js";

const RUNNING = 2;
const PAUSED = 3;

const all = (message: string, ...fields: string[]) => fields.map((field) => `${message}.${field}`);

/** Cases of what is done to a container that is there. */
export const lifeRows: Row[] = [
  works("Container.List", [], "lists them with their state", async (zone) => {
    const { containers } = await zone.bridge.container.list({}, zone.in());
    expect(containers).toMatchObject([{ id: "main", state: RUNNING, oci: false }]);
    expect(containers[0]?.pid).toBeGreaterThan(1);
  }),
  works("Container.Get", ["GetContainerRequest.id"], "tells what one is", async (zone) => {
    const { container } = await zone.bridge.container.get({ id: "main" }, zone.in());
    expect(container).toMatchObject({ id: "main", state: RUNNING });
    expect(container?.createdAt?.seconds).toBeGreaterThan(1e9);
  }),
  works(
    "Container.Pause",
    ["PauseContainerRequest.id", "ResumeContainerRequest.id"],
    "stops all in it, and what would start, until Resume",
    (zone) =>
      zone.withContainer({ id: "case" }, async (id) => {
        const { container, process_ } = zone.bridge;
        await container.pause({ id }, zone.in());
        expect((await container.get({ id }, zone.in())).container?.state).toBe(PAUSED);
        await expect(container.pause({ id }, zone.in())).rejects.toMatchObject({ reason: "CONTAINER_PAUSED" });
        const spec = { containerId: id, argv: argv("true") };
        await expect(process_.start({ spec }, zone.in())).rejects.toMatchObject({ reason: "CONTAINER_PAUSED" });
        await container.resume({ id }, zone.in());
        expect((await container.get({ id }, zone.in())).container?.state).toBe(RUNNING);
        expect(await zone.out("echo on", id)).toBe("on");
      }),
  ),
  works("Container.Resume", ["ResumeContainerRequest.id"], "lets one end that was killed while it was paused", (zone) =>
    zone.withContainer({ id: "case" }, async (id) => {
      const { container, process_ } = zone.bridge;
      await container.pause({ id }, zone.in());
      await container.kill({ id, signal: 15, all: true }, zone.in());
      await container.kill({ id, signal: 9 }, zone.in());
      await container.resume({ id }, zone.in());
      expect((await process_.wait({ id }, zone.in())).process?.exit).toMatchObject({ signal: 9 });
    }),
  ),
  works(
    "Container.Update",
    ["UpdateContainerRequest.id", "UpdateContainerRequest.limits"],
    "changes limits, and leaves the others",
    (zone) =>
      zone.withContainer({ id: "case", limits: { pids: 70, cpuWeight: 50 } }, async (id) => {
        const { limits } = await zone.bridge.container.update({ id, limits: { pids: 80 } }, zone.in());
        expect(limits).toMatchObject({ pids: 80, cpuWeight: 50 });
        expect(await zone.out("cat /sys/fs/cgroup/pids.max", id)).toBe("80");
      }),
  ),
  works(
    "Container.Stats",
    ["ContainerStatsRequest.id"],
    "counts what it uses, and what it has written",
    async (zone) => {
      const before = await zone.bridge.container.stats({ id: "main" }, zone.in());
      await zone.out("head -c 1000000 /dev/zero > /written");
      const after = await zone.bridge.container.stats({ id: "main" }, zone.in());
      await zone.out("rm /written");
      expect(after.writableUsedBytes).toBeGreaterThanOrEqual(Number(before.writableUsedBytes) + 1e6);
      expect(after.cgroup?.cpu?.usageUs).toBeGreaterThan(Number(before.cgroup?.cpu?.usageUs));
    },
  ),
  works(
    "Container.Kill",
    all("KillContainerRequest", "id", "signal", "all"),
    "signals the init, or every process",
    (zone) => {
      const traps = {
        argv: argv("/bin/sh", "-c", "trap 'exit 7' TERM; trap : USR1; while :; do sleep 1000 & wait; done"),
      };
      return zone.withContainer(
        { id: "case" },
        async (id) => {
          const { container, process_ } = zone.bridge;
          const spec = { id: "beside", containerId: id, argv: argv("/bin/sleep", "1000") };
          await process_.start({ spec }, zone.in());
          await zone.out("until grep -q SigCgt:.*42..$ /proc/1/status; do :; done", id);
          await container.kill({ id, signal: 10, all: true }, zone.in());
          expect((await process_.wait({ id: "beside" }, zone.in())).process?.exit).toMatchObject({ signal: 10 });
          await container.kill({ id, signal: 15 }, zone.in());
          expect((await process_.wait({ id }, zone.in())).process?.exit).toMatchObject({ code: 7 });
          await expect(container.kill({ id }, zone.in())).rejects.toMatchObject({ reason: "CONTAINER_NOT_RUNNING" });
          await process_.delete({ id: "beside" }, zone.in());
        },
        traps,
      );
    },
  ),
  works(
    "Container.Delete",
    all("DeleteContainerRequest", "id", "force"),
    "removes one that has ended, and with force one that runs",
    async (zone) => {
      const { container, process_ } = zone.bridge;
      for (const force of [false, true]) {
        const rootfs = { blockSerial: "w0", fsType: "erofs" };
        await container.create({ id: "case", rootfs }, zone.in());
        const spec = { id: "case", containerId: "case", init: true, argv: argv("/bin/sleep", force ? "1000" : "0") };
        await process_.start({ spec }, zone.in());
        if (!force) await process_.wait({ id: "case" }, zone.in());
        await container.delete({ id: "case", force }, zone.in());
        expect((await process_.wait({ id: "case" }, zone.in())).process?.exit).toMatchObject(
          force ? { signal: 9 } : { code: 0 },
        );
        await process_.delete({ id: "case" }, zone.in());
        const { mounts } = await zone.bridge.mount.list({}, zone.in());
        expect(mounts.filter(({ target }) => target?.startsWith("/run/zone/containers/case"))).toEqual([]);
      }
    },
  ),
];
