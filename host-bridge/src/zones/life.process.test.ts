import { once } from "node:events";
import { agent, bridge, ZoneError, type zone } from "@zone/proto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inZone, lastOf, TestBridge } from "../testing/test-bridge.js";

const { EndCause, ZoneState } = bridge;
const text = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString();

let host: TestBridge;
beforeAll(async () => {
  host = await TestBridge.start();
});
afterAll(() => host.close());

async function logsOf(id: string, request: zone.bridge.v1.ZoneLogsRequest.$Properties = {}) {
  const records: zone.bridge.v1.ZoneLogRecord.$Properties[] = [];
  for await (const record of host.zones.logs({ zone: id, ...request })) records.push(record);
  return records;
}

const outputOf = (records: zone.bridge.v1.ZoneLogRecord.$Properties[], stream = "stdout") =>
  records
    .filter((record) => record.stream === stream)
    .map((record) => text(record.data))
    .join("");

describe("a zone's life", () => {
  it("runs its main process, keeps its output and its exit", async () => {
    const id = await host.run("echo out; echo err >&2; exit 3", { name: "first", hostname: "inside" });
    const { zone: ended } = await host.zones.wait({ zone: "first" });
    expect(ended).toMatchObject({
      id,
      state: ZoneState.ZONE_STATE_ENDED,
      endCause: EndCause.END_CAUSE_EXITED,
      exitCode: 3,
    });
    expect(ended?.argv?.map(text)).toEqual(["sh", "-c", "echo out; echo err >&2; exit 3"]);
    const records = await logsOf(id);
    expect(outputOf(records)).toBe("out\n");
    expect(outputOf(records, "stderr")).toBe("err\n");
    await host.zones.delete({ zone: id });
    await expect(host.zones.get({ zone: id })).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
  });

  it("says death by a signal as a shell does", async () => {
    const id = await host.run("kill -9 $$");
    expect((await host.zones.wait({ zone: id })).zone).toMatchObject({
      exitCode: 137,
      endCause: EndCause.END_CAUSE_EXITED,
    });
  });

  it("shows what runs, and what the zone says of itself", async () => {
    const id = await host.run("sleep 1000", { labels: { a: "b" } });
    const { zone: running } = await host.zones.get({ zone: id.slice(0, 12) });
    expect(running).toMatchObject({
      state: ZoneState.ZONE_STATE_RUNNING,
      linkUp: true,
      driver: "process",
      spec: { labels: { a: "b" } },
    });
    expect(running?.mainStartedAfter).not.toBeNull();
    await expect.poll(async () => (await host.zones.get({ zone: id })).zone?.machineId, { timeout: 30_000 }).toBe(id);
    await host.zones.delete({ zone: id, force: true });
  });

  it("passes the exec failure of the main process on, and the zone has ended", async () => {
    const made = await lastOf(host.zones.create({ spec: { image: "none", command: [Buffer.from("/no/such")] } }));
    const zone = made?.zone?.id ?? "";
    const error = await lastOf(host.zones.start({ zone })).catch(ZoneError.from);
    expect(error).toMatchObject({ reason: "EXEC_NOT_FOUND", domain: "zone.agent" });
    expect((await host.zones.get({ zone })).zone).toMatchObject({
      endCause: EndCause.END_CAUSE_START_FAILED,
      exitCode: 127,
    });
    await expect(lastOf(host.zones.start({ zone }))).rejects.toThrow(/only a zone that is created/);
  });

  it("stops with the stop signal, then with SIGKILL", async () => {
    const polite = await host.run("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    await host.zones.logs({ zone: polite, follow: true }).once("data", () => {});
    await until(async () => outputOf(await logsOf(polite)).includes("ready"));
    expect((await host.zones.stop({ zone: polite, timeout: { seconds: 30 } })).zone).toMatchObject({
      endCause: EndCause.END_CAUSE_STOPPED,
      exitCode: 7,
    });
    const deaf = await host.run("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    await until(async () => outputOf(await logsOf(deaf)).includes("ready"));
    const stopped = await host.zones.stop({ zone: deaf, timeout: { nanos: 200_000_000 } });
    expect(stopped.zone).toMatchObject({ endCause: EndCause.END_CAUSE_STOPPED, exitCode: 137 });
    expect((await host.zones.stop({ zone: deaf })).zone).toMatchObject({ exitCode: 137 });
  });

  it("stops and deletes once, however many ask at a time", async () => {
    const id = await host.run("sleep 1000", { name: "popular" });
    const asked = [1, 2, 3].map(() => host.zones.stop({ zone: id, timeout: { seconds: 20 } }));
    const deleted = [1, 2, 3].map(() => host.zones.delete({ zone: id, force: true }));
    const answers = await Promise.allSettled([...asked, ...deleted]);
    expect(answers.filter(({ status }) => status === "rejected")).toEqual([]);
    const again = await host.create("true", { name: "popular" });
    await host.zones.delete({ zone: again });
  });

  it("deletes a running zone only with force", async () => {
    const id = await host.run("sleep 1000");
    await expect(host.zones.delete({ zone: id })).rejects.toMatchObject({ reason: "ZONE_RUNNING" });
    const waiting = host.zones.wait({ zone: id });
    await host.zones.delete({ zone: id, force: true });
    expect((await waiting).zone).toMatchObject({ endCause: EndCause.END_CAUSE_STOPPED });
  });

  it("removes a zone that has auto_remove when it has ended, and tells those who wait", async () => {
    const id = await host.create("exit 5", { autoRemove: true });
    const waiting = host.zones.wait({ zone: id });
    await lastOf(host.zones.start({ zone: id }));
    expect((await waiting).zone).toMatchObject({ exitCode: 5 });
    await until(async () => (await host.zones.list({ all: true })).zones.every((each) => each.id !== id));
  });

  it("ends a zone that loses its domain, and says so to whoever calls it", async () => {
    const id = await host.run("sleep 1000");
    const { zone: running } = await host.zones.get({ zone: id });
    const waiting = host.process.wait({ id: "main" }, inZone(id)).catch(ZoneError.from);
    process.kill(running?.vmmPid ?? 0, "SIGKILL");
    expect((await host.zones.wait({ zone: id })).zone).toMatchObject({
      endCause: EndCause.END_CAUSE_LOST,
      exitCode: 125,
    });
    expect(await waiting).toMatchObject({ reason: "ZONE_NOT_RUNNING", message: expect.stringContaining("lost") });
    await expect(host.process.list({}, inZone(id))).rejects.toMatchObject({ reason: "ZONE_NOT_RUNNING" });
  });

  it("refuses what cannot be, and leaves nothing behind", async () => {
    const before = (await host.zones.list({ all: true })).zones.length;
    const refused = (spec: zone.bridge.v1.ZoneSpec.$Properties) =>
      lastOf(host.zones.create({ spec })).catch(ZoneError.from);
    expect(await refused({ image: "absent", name: "once" })).toMatchObject({ reason: "IMAGE_UNKNOWN" });
    expect(await refused({ image: "none", name: "once" })).toMatchObject({ reason: "NO_COMMAND" });
    expect(await refused({ image: "sh", memoryBytes: 1 })).toMatchObject({ reason: "MEMORY_TOO_SMALL" });
    const id = await host.create("true", { name: "once" });
    expect(await refused({ image: "sh", name: "once" })).toMatchObject({ reason: "NAME_IN_USE" });
    const withId = (zoneId: string) =>
      lastOf(host.zones.create({ spec: { image: "sh" }, zoneId })).catch(ZoneError.from);
    expect(await withId(id)).toMatchObject({ reason: "NAME_IN_USE" });
    expect(await withId("../x")).toMatchObject({ reason: "INVALID_NAME" });
    const chosen = "0123456789abcdef".repeat(2);
    expect(await withId(chosen)).toMatchObject({ zone: { id: chosen } });
    for (const zone of [id, chosen]) await host.zones.delete({ zone });
    expect((await host.zones.list({ all: true })).zones.length).toBe(before);
    await expect(host.process.list({})).rejects.toMatchObject({ reason: "MISSING_ZONE_ID" });
    await expect(host.process.list({}, inZone("nope"))).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
    await expect(host.zones.stop({ zone: "nope" })).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
  });

  it("refuses to remove an image that a zone uses", async () => {
    const id = await host.create("true");
    await expect(host.images.remove({ image: "sh" })).rejects.toMatchObject({ reason: "IMAGE_IN_USE" });
    await host.zones.delete({ zone: id });
  });
});

describe("a cancelled call", () => {
  it("ends a zone that is being started, and leaves nothing of it with auto_remove", async () => {
    const id = await host.create("sleep 1000", { autoRemove: true });
    const call = host.zones.start({ zone: id });
    call.on("error", () => {}).resume();
    await until(async () => (await host.zones.get({ zone: id })).zone?.state !== ZoneState.ZONE_STATE_CREATED);
    call.cancel();
    // It was in time, or it was not and the zone runs.
    const gone = host.zones.wait({ zone: id }, { timeoutMs: 5000 }).catch(ZoneError.from);
    const ended = await gone;
    if (!(ended instanceof ZoneError)) expect(ended.zone?.endCause).toBe(EndCause.END_CAUSE_START_FAILED);
    else if (ended.code === "DEADLINE_EXCEEDED") await host.zones.delete({ zone: id, force: true });
    await until(async () => (await host.zones.list({ all: true })).zones.every((each) => each.id !== id));
  });

  it("is the end of a zone that is stopped while it is started", async () => {
    const id = await host.create("sleep 1000");
    const started = lastOf(host.zones.start({ zone: id })).catch(ZoneError.from);
    await until(async () => (await host.zones.get({ zone: id })).zone?.state !== ZoneState.ZONE_STATE_CREATED);
    await host.zones.delete({ zone: id, force: true });
    await started;
    await expect(host.zones.get({ zone: id })).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
  });
});

describe("hold_main", () => {
  it("lets a client attach before anything is written, and keeps an auto_remove zone until it has its exit", async () => {
    const id = await host.run("echo hello; exit 4", { autoRemove: true }, true);
    expect((await host.process.get({ id: "main" }, inZone(id))).process?.state).toBe(
      agent.ProcessState.PROCESS_STATE_CREATED,
    );
    const call = host.process.attach(inZone(id));
    call.write({ open: { processId: "main", start: true } });
    let output = "";
    let code = -1;
    for await (const message of call as AsyncIterable<zone.agent.v1.AttachResponse>) {
      if (message.output) output += text(message.output.data);
      if (message.exit) code = message.exit.code ?? 0;
    }
    expect([output, code]).toEqual(["hello\n", 4]);
    await until(async () => (await host.zones.list({ all: true })).zones.every((each) => each.id !== id));
  });

  it("ends a zone whose client never comes", async () => {
    const other = await TestBridge.start("300");
    const id = await other.run("true", {}, true);
    expect((await other.zones.wait({ zone: id })).zone).toMatchObject({
      endCause: EndCause.END_CAUSE_STOPPED,
      exitCode: 125,
      endMessage: expect.stringContaining("no client"),
    });
    await other.close();
  });
});

describe("logs", () => {
  it("follow from the start until the end", async () => {
    const id = await host.create("for i in 1 2 3; do echo line $i; sleep 0.1; done");
    const followed = logsOf(id, { follow: true });
    await lastOf(host.zones.start({ zone: id }));
    expect(outputOf(await followed)).toBe("line 1\nline 2\nline 3\n");
    expect(outputOf(await logsOf(id, { tail: 1 }))).toBe("line 3\n");
  });

  it("hold the agent's log and the console", async () => {
    const id = await host.run("sleep 0.5");
    await host.zones.wait({ zone: id });
    const records = (await logsOf(id, { system: true })).filter(({ stream }) => stream === "agent");
    const messages = records.map(({ data }) => JSON.parse(text(data)).msg);
    expect(messages).toContain("zone renewed");
    expect(messages.join()).not.toContain("not kept any more");
  });
});

describe("Watch", () => {
  it("tells each change, after a first message without a zone", async () => {
    const watch = host.zones.watch({});
    watch.on("error", () => {});
    const types: string[] = [];
    const [first] = await once(watch, "data");
    expect(first.zone ?? null).toBeNull();
    const gone = new Promise<void>((resolve) => {
      watch.on("data", (event: zone.bridge.v1.ZoneEvent) => {
        types.push(event.type);
        if (event.type === "removed") resolve();
      });
    });
    const id = await host.run("true");
    await host.zones.wait({ zone: id });
    await host.zones.delete({ zone: id });
    await gone;
    watch.cancel();
    expect(types.filter((type) => !type.startsWith("link"))).toEqual([
      "created",
      "starting",
      "running",
      "stopping",
      "ended",
      "removed",
    ]);
    expect(types).toContain("link-up");
  });
});

/** Settles when `condition` holds. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  await expect.poll(condition, { timeout: 30_000, interval: 50 }).toBe(true);
}
