import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inZone, TestBridge } from "./harness/bridge.js";
import { argv, exec } from "./harness/exec.js";

describe("many at once", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
  });
  afterAll(() => bridge.close());

  test("a thousand execs, a hundred at once: all statuses right, and nothing stays", async () => {
    await bridge.detached("busy", ["sleep", "100000"], ["--memory", "512m"]);
    const one = async (index: number) => {
      const spec = { containerId: "main", argv: argv("sh", "-c", `echo ${index}; exit ${index % 256}`) };
      const { code, stdout, id } = await exec(bridge, "busy", spec);
      expect({ code, stdout: stdout.toString() }).toEqual({ code: index % 256, stdout: `${index}\n` });
      await bridge.process_.delete({ id }, inZone("busy"));
    };
    // The first hundred make the agent's code and buffers what they will be.
    await Promise.all(Array.from({ length: 100 }, (_, index) => one(index)));
    const before = await bridge.system.info({}, inZone("busy"));
    let next = 0;
    const worker = async () => {
      while (next < 1000) await one(next++);
    };
    await Promise.all(Array.from({ length: 100 }, worker));
    const after = await bridge.system.info({}, inZone("busy"));
    expect(after.zombies).toBe(0);
    expect(after.agentFds).toBeLessThanOrEqual((before.agentFds ?? 0) + 2);
    expect((after.agentRssBytes ?? 0) / (before.agentRssBytes ?? 1)).toBeLessThan(1.5);
    const { processes = [] } = await bridge.process_.list({}, inZone("busy"));
    expect(processes.map(({ id }) => id)).toEqual(["main"]);
  }, 900_000);

  test("twenty zones from one template: identities, random numbers and clocks of their own", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `twin${index}`);
    // Side by side from the start: they even share the making of their template.
    await Promise.all(names.map((name) => bridge.detached(name, ["sleep", "100000"], ["--memory", "128m"])));
    const look = await Promise.all(
      names.map(async (name) => {
        const info = await bridge.system.info({}, inZone(name));
        const asked = Date.now();
        const { stdout } = await exec(bridge, name, {
          ...{
            containerId: "main",
            argv: argv("sh", "-c", "date +%s; head -c 16 /dev/urandom | hexdump -ve '1/1 \"%02x\"'; echo; hostname"),
          },
        });
        const [clock = "", random, hostname] = stdout.toString().split("\n");
        return {
          machine: info.machineId,
          instance: info.instanceId,
          random,
          hostname,
          early: asked / 1000 - Number(clock),
          late: Number(clock) - Date.now() / 1000,
        };
      }),
    );
    for (const key of ["machine", "instance", "random", "hostname"] as const) {
      expect(new Set(look.map((zone) => zone[key])).size).toBe(20);
    }
    expect(look.every(({ machine }) => /^[0-9a-f]{32}$/.test(machine ?? ""))).toBe(true);
    for (const { early, late } of look) {
      expect(early).toBeLessThan(3);
      expect(late).toBeLessThan(3);
    }
    const sockets = () => readdirSync(bridge.runDir, { recursive: true }).length;
    const full = sockets();
    await bridge.zonectl(["rm", "-f", ...names]);
    expect((await bridge.zones.list({ all: true })).zones?.length ?? 0).toBe(1);
    expect(sockets()).toBeLessThan(full);
  }, 900_000);
});
