import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";
import { argv } from "./harness/exec.js";
import { SurfaceZone } from "./surface/row.js";

const MIB = 1 << 20;

/** What is allowed and what is got, as the zone's own kernel counts it: a busy host makes all of it slower, not different. */
describe("limits hold", () => {
  let bridge: TestBridge;
  let zone: SurfaceZone;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    const flags = ["--memory", "384m", "-v", "limits-test:/data"];
    zone = new SurfaceZone(bridge, await bridge.detached("limits", ["sleep", "100000"], flags));
  });
  afterAll(async () => {
    const { zones = [] } = await bridge.zones.list({ all: true });
    await Promise.all(zones.map(({ id }) => bridge.zones.delete({ zone: id ?? "", force: true })));
    await bridge.volumes.remove({ name: "limits-test" }).catch(() => {});
    await bridge.close();
  });

  const stats = (path: string) => bridge.cgroup.stats({ path }, zone.in());

  test.each([250, 600])("cpu.max of %i thousandths, within a tenth", async (cpuMillis) => {
    await zone.withContainer({ id: "spin", limits: { cpuMillis } }, async (id) => {
      await bridge.process_.start(
        { spec: { id: "loop", containerId: id, argv: argv("sh", "-c", "while :; do :; done") } },
        zone.in(),
      );
      const before = await stats(id);
      await zone.out("sleep 6");
      const after = await stats(id);
      await bridge.process_.signal({ id: "loop", signal: 9 }, zone.in());
      await bridge.process_.wait({ id: "loop" }, zone.in());
      await bridge.process_.delete({ id: "loop" }, zone.in());
      const used = (after.cpu?.usageUs ?? 0) - (before.cpu?.usageUs ?? 0);
      const periods = (after.cpu?.periods ?? 0) - (before.cpu?.periods ?? 0);
      expect(periods).toBeGreaterThan(20);
      const share = used / (periods * 100_000);
      expect(share).toBeGreaterThan((cpuMillis / 1000) * 0.9);
      expect(share).toBeLessThan((cpuMillis / 1000) * 1.1);
    });
  });

  test("memory.max kills who takes more, and tells who it was", async () => {
    await zone.withContainer({ id: "hungry", limits: { memoryBytes: 32 * MIB } }, async (id) => {
      const events = bridge.cgroup.watch({ path: id }, zone.in());
      const killed = new Promise<{ count?: number | null; victims?: { command?: string | null }[] | null }>(
        (resolve, reject) => {
          events.on("error", reject);
          events.on("data", (event) => event.oomKill && resolve(event.oomKill));
        },
      );
      killed.catch(() => {}); // when an earlier check fails
      const eater = { id: "eater", containerId: id, argv: argv("sh", "-c", "exec tail /dev/zero") };
      await bridge.process_.start({ spec: eater }, zone.in());
      const { process } = await bridge.process_.wait({ id: "eater" }, zone.in());
      expect(process?.exit).toMatchObject({ signal: 9, oomKilled: true });
      await bridge.process_.delete({ id: "eater" }, zone.in());
      const { count, victims } = await killed;
      events.on("error", () => {}); // its own cancellation
      events.cancel();
      expect(count).toBeGreaterThanOrEqual(1);
      expect(victims?.[0]?.command).toBe("tail");
      const { container } = await bridge.container.get({ id }, zone.in());
      expect(container?.oomKills).toBeGreaterThanOrEqual(1);
      // Who has taken no more than it may lives on.
      expect(await zone.out("echo alive", id)).toBe("alive");
    });
  });

  test("pids.max refuses the next process", async () => {
    await zone.withContainer({ id: "many", limits: { pids: 8 } }, async (id) => {
      const { stderr } = await zone.sh("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done; kill $(jobs -p)", id);
      expect(stderr.toString()).toMatch(/can't fork|Resource temporarily unavailable/);
      expect((await stats(id)).pids).toMatchObject({ limit: 8 });
      expect((await stats(id)).pids?.maxEvents).toBeGreaterThanOrEqual(1);
    });
  });

  test("io.max holds a disk's writer to its rate", async () => {
    const device = (await zone.out("stat -c %d /data")).trim();
    const number = `${Number(device) >> 8}:${Number(device) & 255}`;
    const write = "dd if=/dev/zero of=/data/file bs=256k count=32 oflag=direct conv=fsync 2>/dev/null";
    const seconds = async () => {
      const [from = 0, to = 0] = (await zone.out(`cut -d' ' -f1 /proc/uptime; ${write}; cut -d' ' -f1 /proc/uptime`))
        .split("\n")
        .map(Number);
      return to - from;
    };
    const free = await seconds();
    const writeBytesPerSecond = 2 * MIB;
    await bridge.container.update({ id: "main", limits: { io: [{ device: number, writeBytesPerSecond }] } }, zone.in());
    const before = await stats("main");
    const held = await seconds();
    const after = await stats("main");
    await bridge.container.update({ id: "main", limits: { io: [{ device: number }] } }, zone.in());
    const written = (each: typeof after) => each.io?.find((disk) => disk.device === number)?.writeBytes ?? 0;
    expect(written(after) - written(before)).toBeGreaterThanOrEqual(8 * MIB);
    // The kernel gives a bucket in advance; over four seconds that is not a tenth.
    expect(8 / held).toBeLessThan(2 * 1.1);
    expect(held).toBeGreaterThan(free);
  });
});
