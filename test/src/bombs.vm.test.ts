import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inZone, TestBridge } from "./harness/bridge.js";

/** Workloads that take all they can. The agent stays reachable, the zone can be ended, and nobody else notices. */
describe("bombs", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    await bridge.detached("neighbour", ["sleep", "100000"]);
  });
  afterAll(() => bridge.close());

  /** Each says by the file /lit that it has gone off. */
  const bombs: [name: string, script: string][] = [
    ["fork bomb", ": > /lit; bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done"],
    ["memory bomb", ": > /lit; while :; do tail /dev/zero; done"],
    ["full disk", ": > /lit; while :; do dd if=/dev/zero of=/big bs=1M 2>/dev/null; done"],
    [
      "heap of ten thousand files",
      "mkdir /many; i=0; while [ $i -lt 10000 ]; do : > /many/$i; i=$((i+1)); done; : > /lit; exec sleep 100000",
    ],
    ["flood of output", ": > /lit; exec cat /dev/zero"],
  ];

  async function lit(zone: string): Promise<void> {
    for (;;) {
      try {
        await bridge.file.stat({ containerId: "main", path: "/lit" }, inZone(zone, { timeoutMs: 120_000 }));
        return;
      } catch (error) {
        if ((error as { reason?: string }).reason !== "FILE_NOT_FOUND") throw error;
      }
    }
  }

  test.each(bombs)("a %s", async (name, script) => {
    const zone = name.replaceAll(" ", "-");
    await bridge.detached(zone, ["sh", "-c", script]);
    await lit(zone);
    const before = (await bridge.zones.get({ zone })).zone;

    // Ten times, so that it has time to go off.
    for (let turn = 0; turn < 10; turn++) {
      const info = await bridge.system.info({}, inZone(zone, { timeoutMs: 120_000 }));
      expect(info.agentRestarts).toBe(0);
    }
    const neighbour = await bridge.zonectl(["exec", "neighbour", "echo", "undisturbed"]);
    expect(neighbour).toMatchObject({ code: 0, stderr: "" });
    expect(before?.vmmPid).toBeGreaterThan(0);

    expect((await bridge.zonectl(["stop", "-t", "1", zone])).code).toBe(0);
    expect((await bridge.zonectl(["rm", zone])).code).toBe(0);
    const { zones } = await bridge.zones.list({ all: true });
    expect(zones.map((each) => each.spec?.name)).toEqual(["neighbour"]);
  });
});
