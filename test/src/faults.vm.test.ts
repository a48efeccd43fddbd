import { readFileSync } from "node:fs";
import { bridge as api } from "@zone/proto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inZone, TestBridge } from "./harness/bridge.js";
import { argv, exec } from "./harness/exec.js";

describe("when something dies", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
  });
  afterAll(() => bridge.close());

  const start = (name: string, ...command: string[]) => bridge.detached(name, command);

  test("the bridge, by SIGKILL: zones live, exec works again, wait has the status", async () => {
    await start("steady", "sh", "-c", "echo one; while [ ! -e /go ]; do sleep 0.2; done; echo two; exit 6");
    await start("brief", "sh", "-c", "while [ ! -e /go ]; do sleep 0.2; done; exit 7");
    // Exits while no bridge is there to see it.
    await exec(bridge, "brief", {
      containerId: "main",
      argv: argv("sh", "-c", "(sleep 2; touch /go) >/dev/null 2>&1 &"),
    });
    await bridge.kill();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    await bridge.launch();
    expect((await bridge.zonectl(["wait", "brief"])).stdout.toString().trim()).toBe("7");
    const { code, stdout } = await bridge.zonectl(["exec", "steady", "echo", "still here"]);
    expect({ code, out: stdout.toString() }).toEqual({ code: 0, out: "still here\n" });
    await bridge.zonectl(["exec", "steady", "touch", "/go"]);
    expect((await bridge.zonectl(["wait", "steady"])).stdout.toString().trim()).toBe("6");
    expect((await bridge.zonectl(["logs", "steady"])).stdout.toString()).toBe("one\ntwo\n");
  });

  test("the agent, by SIGKILL: PID 1 starts it again, processes live, exits are reported", async () => {
    await start("patient", "sh", "-c", "while [ ! -e /go ]; do sleep 0.2; done; exit 8");
    const before = await bridge.process_.get({ id: "main" }, inZone("patient"));
    const info = await bridge.system.info({}, inZone("patient"));
    expect(info.agentRestarts).toBe(0);
    // The zone's own root has no shell; node is there. The agent is the process whose parent is 1 and that runs agent.mjs.
    const killer = `
      const fs = require("fs");
      for (const pid of fs.readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
        let line = "";
        try { line = fs.readFileSync("/proc/" + pid + "/cmdline", "utf8"); } catch {}
        if (line.includes("agent.mjs") && Number(pid) !== process.pid) process.kill(Number(pid), "SIGKILL");
      }`;
    await exec(bridge, "patient", { argv: argv("/bin/node", "-e", killer) }).catch(() => undefined);
    // Forwarded calls wait for the link that is being remade.
    const again = await bridge.system.info({}, inZone("patient", { timeoutMs: 120_000 }));
    expect(again.agentRestarts).toBe(1);
    const after = await bridge.process_.get({ id: "main" }, inZone("patient"));
    expect(after.process?.pid).toBe(before.process?.pid);
    await bridge.zonectl(["exec", "patient", "touch", "/go"]);
    expect((await bridge.zonectl(["wait", "patient"])).stdout.toString().trim()).toBe("8");
  });

  test("the zone's kernel, by a panic: that zone alone ends, and it is said why", async () => {
    await start("neighbour", "sleep", "100000");
    await start("doomed", "sleep", "100000");
    const attached = bridge.zonectl(["exec", "doomed", "sleep", "100000"]);
    const panic = 'require("fs").writeFileSync("/proc/sysrq-trigger", "c")';
    await exec(bridge, "doomed", { argv: argv("/bin/node", "-e", panic) }).catch(() => undefined);
    const { zone } = await bridge.zones.wait({ zone: "doomed" });
    expect(zone).toMatchObject({ endCause: api.EndCause.END_CAUSE_PANIC, exitCode: 125 });
    expect(zone?.endMessage).toMatch(/panic/i);
    const { code, stderr } = await attached;
    expect(code).toBe(125);
    expect(stderr).toMatch(/panic/i);
    const { stdout } = await bridge.zonectl(["exec", "neighbour", "echo", "fine"]);
    expect(stdout.toString()).toBe("fine\n");
  });

  test("the VMM, by SIGKILL: the zone is lost, and nothing of it stays", async () => {
    await start("gone", "sleep", "100000");
    const { zone } = await bridge.zones.get({ zone: "gone" });
    const pid = zone?.vmmPid ?? 0;
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/^Uid:\t(?!0\b)/m);
    process.kill(pid, "SIGKILL");
    const ended = await bridge.zones.wait({ zone: "gone" });
    expect(ended.zone).toMatchObject({ endCause: api.EndCause.END_CAUSE_LOST, exitCode: 125 });
    expect((await bridge.zonectl(["rm", "gone"])).code).toBe(0);
  });
});
