import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bridge, ZoneError, type zone } from "@zone/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inZone, lastOf, TestBridge } from "../testing/test-bridge.js";

const { EndCause, ZoneState } = bridge;

let host: TestBridge;
beforeEach(async () => {
  host = await TestBridge.start();
});
afterEach(() => host.close());

/** All output that is kept, in which no more than so many bytes are missing. */
async function outputOf(id: string, missing = 0): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const record of host.zones.logs({
    zone: id,
    follow: true,
  }) as AsyncIterable<zone.bridge.v1.ZoneLogRecord>) {
    expect(Number(record.gapBytes)).toBeLessThanOrEqual(missing);
    pieces.push(record.data);
  }
  return Buffer.concat(pieces).toString();
}

describe.each(["SIGKILL", "SIGTERM"] as const)("after %s, a new bridge", (signal) => {
  it("finds running zones, their output and their exit", async () => {
    const go = join(host.directory, "go");
    const lines = (from: number, to: number) => `i=${from}; while [ $i -lt ${to} ]; do echo line $i; i=$((i+1)); done`;
    const id = await host.run(`${lines(0, 20)}; until [ -e ${go} ]; do sleep 0.05; done; ${lines(20, 40)}; exit 9`);
    const following = host.zones.logs({ zone: id, follow: true });
    following.on("error", () => {}); // the bridge ends
    await once(following, "data");
    await host.end(signal);
    await host.launch();
    expect((await host.zones.get({ zone: id })).zone).toMatchObject({ state: ZoneState.ZONE_STATE_RUNNING });
    const listed = await host.process.list({}, inZone(id));
    expect(listed.processes?.map((process) => process.id)).toEqual(["main"]);
    await writeFile(go, "");
    expect((await host.zones.wait({ zone: id })).zone).toMatchObject({
      endCause: EndCause.END_CAUSE_EXITED,
      exitCode: 9,
    });
    expect(await outputOf(id)).toBe(Array.from({ length: 40 }, (_, n) => `line ${n}\n`).join(""));
  });

  it("learns of an exit that it has missed", async () => {
    const id = await host.run("sleep 1; echo late; exit 6");
    const { process: main } = await host.process.get({ id: "main" }, inZone(id));
    await host.end(signal);
    await expect.poll(() => existsSync(`/proc/${main?.pid}`), { timeout: 30_000 }).toBe(false);
    await host.launch();
    expect((await host.zones.wait({ zone: id })).zone).toMatchObject({ exitCode: 6 });
    expect(await outputOf(id)).toBe("late\n");
  });

  it("says that a zone is lost whose domain has gone", async () => {
    const id = await host.run("sleep 1000");
    const { zone: running } = await host.zones.get({ zone: id });
    await host.end(signal);
    process.kill(running?.vmmPid ?? 0, "SIGKILL");
    await host.launch();
    expect((await host.zones.get({ zone: id })).zone).toMatchObject({ endCause: EndCause.END_CAUSE_LOST });
  });

  it("keeps what was created and what had ended", async () => {
    const created = await host.create("true", { name: "kept" });
    const ended = await host.run("exit 2");
    await host.zones.wait({ zone: ended });
    await host.end(signal);
    await host.launch();
    expect((await host.zones.get({ zone: ended })).zone).toMatchObject({ exitCode: 2 });
    await lastOf(host.zones.start({ zone: created }));
    expect((await host.zones.wait({ zone: "kept" })).zone).toMatchObject({ exitCode: 0 });
  });
});

describe("a second bridge on the same state", () => {
  it("says that one runs", async () => {
    await expect(host.launch()).rejects.toThrow(/another zone-bridge runs/);
  });
});

describe("a killed agent", () => {
  it("is told of, and the zone's output and exit still come", async () => {
    const go = join(host.directory, "go");
    const id = await host.run(`echo before; until [ -e ${go} ]; do sleep 0.05; done; echo after; exit 8`);
    const watch = host.zones.watch({});
    watch.on("error", () => {});
    const restarted = new Promise<void>((resolve) => {
      watch.on("data", (event: zone.bridge.v1.ZoneEvent) => event.type === "agent-restarted" && resolve());
    });
    await expect.poll(async () => (await host.zones.get({ zone: id })).zone?.machineId, { timeout: 30_000 }).toBe(id);
    const { zone: running } = await host.zones.get({ zone: id });
    process.kill(await agentOf(running?.vmmPid ?? 0), "SIGKILL");
    await restarted;
    watch.cancel();
    await writeFile(go, "");
    expect((await host.zones.wait({ zone: id })).zone).toMatchObject({ exitCode: 8 });
    expect(await outputOf(id, Number.POSITIVE_INFINITY)).toBe("before\nafter\n");
  });
});

/** The pid of the agent: PID 1's first child. */
async function agentOf(init: number): Promise<number> {
  const children = await readFile(`/proc/${init}/task/${init}/children`, "utf8");
  const pid = Number(children.trim().split(" ")[0]);
  if (!pid) throw ZoneError.from(new Error(`PID 1 (${init}) has no child`));
  return pid;
}
