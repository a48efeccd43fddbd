import { resolve } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { createClient, SystemService } from "@zone/proto";
import { protoPath as healthProto } from "grpc-health-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunningAgent } from "./testing/running-agent.js";

let agent: RunningAgent;
beforeAll(async () => {
  agent = await RunningAgent.start("zone.image=1.2.3");
});
afterAll(async () => {
  expect(await agent.stop()).toBe(0);
});
const spec = (...words: string[]) => ({ argv: words.map((word) => Buffer.from(word)) });

describe("System", () => {
  it("tells what the zone and the agent are", async () => {
    const info = await agent.system.info({});
    expect(info).toMatchObject({ agentVersion: "0.1.0", imageVersion: "1.2.3", protocolMin: 1, protocolMax: 1 });
    expect(info.bootId).toMatch(/^[0-9a-f-]{36}$/);
    expect(Number(info.agentPssBytes)).toBeGreaterThan(1 << 20);
    const brief = await agent.system.info({ brief: true });
    expect(brief).toMatchObject({
      agentRssBytes: 0,
      agentPssBytes: 0,
      agentFds: 0,
      memoryTotalBytes: info.memoryTotalBytes,
    });
    expect(Number(info.agentReadyMs)).toBeGreaterThan(0);
    expect(info.features).toContain("process");
    expect(agent.session.hello.agentVersion).toBe("0.1.0");
  });

  it("refuses bad times, entropy and identities", async () => {
    const { system } = agent;
    await expect(system.setTime({})).rejects.toMatchObject({ reason: "INVALID_TIME" });
    await expect(system.addEntropy({ entropy: Buffer.alloc(15) })).rejects.toMatchObject({ reason: "INVALID_ENTROPY" });
    const good = {
      time: { seconds: 1e9 },
      entropy: Buffer.alloc(32),
      machineId: "a".repeat(32),
      hostname: "h",
      instanceId: "i",
    };
    await expect(system.renew({ ...good, machineId: "A".repeat(32) })).rejects.toMatchObject({
      reason: "INVALID_MACHINE_ID",
    });
    await expect(system.renew({ ...good, hostname: "-" })).rejects.toMatchObject({ reason: "INVALID_HOSTNAME" });
    await expect(system.renew({ ...good, entropy: Buffer.alloc(3) })).rejects.toMatchObject({
      reason: "INVALID_ENTROPY",
    });
  });

  it("tells events in order, from the subscription on", async () => {
    const call = agent.system.events({});
    const kinds: string[] = [];
    const done = new Promise<void>((settle) => {
      call.on("error", () => settle());
      call.on("data", (event) => {
        kinds.push(event.kind ?? "");
        if (event.subscribed) void agent.processes.start({ spec: { ...spec("/bin/sh", "-c", "exit 4"), id: "told" } });
        if (event.processStarted) expect(event.processStarted).toMatchObject({ id: "told" });
        if (!event.processEnded) return;
        expect(event.processEnded).toMatchObject({ id: "told", code: 4 });
        call.cancel();
      });
    });
    await done;
    expect(kinds).toEqual(["subscribed", "processStarted", "processEnded"]);
  });

  it("gives its log from a cursor, without argv or env", async () => {
    const { argv } = spec("/bin/sh", "-c", ": secret-argument");
    await agent.processes.start({ spec: { id: "logged", argv, env: [Buffer.from("A=secret-value")] } });
    await agent.processes.wait({ id: "logged" });
    const read = async (cursor: number) => {
      const records: { cursor: number; json: string }[] = [];
      for await (const { cursor: at, json } of agent.system.logs({ cursor }))
        records.push({ cursor: Number(at), json: json ?? "" });
      return records;
    };
    const records = await read(0);
    expect(records.map(({ cursor }) => cursor)).toEqual(records.map((_, index) => index + 1));
    const text = records.map(({ json }) => json).join("\n");
    expect(text).toContain('"process":"logged"');
    expect(text).not.toMatch(/secret|Users|\/bin\/sh/);
    expect((await read(2))[0]?.cursor).toBe(2);
    await expect(read(1e6)).rejects.toMatchObject({ code: 11 });
  });

  it("follows its log", async () => {
    const call = agent.system.logs({ follow: true });
    const seen = new Promise<void>((settle) => {
      call.on("error", () => settle());
      call.on("data", ({ json }) => {
        if (json?.includes('"process":"followed"') && json.includes("ended")) call.cancel();
      });
    });
    await agent.processes.start({ spec: { ...spec("true"), id: "followed" } });
    await seen;
  });
});

describe("stock clients", () => {
  const load = (file: string, dir: string) =>
    grpc.loadPackageDefinition(loadSync(file, { includeDirs: [dir], longs: Number }));

  it("ask for health", async () => {
    const { Health } = (
      load(healthProto, "/") as unknown as { grpc: { health: { v1: { Health: { service: grpc.ServiceDefinition } } } } }
    ).grpc.health.v1;
    const ask = (method: string, request: object) =>
      new Promise<{ status: unknown }>((settle, reject) => {
        const { path, requestSerialize, responseDeserialize } = Health.service[method] as grpc.MethodDefinition<
          object,
          { status: unknown }
        >;
        agent.session.client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          (error, response) => (error ? reject(error) : settle(response as { status: unknown })),
        );
      });
    expect(await ask("Check", { service: "" })).toEqual({ status: 1 });
    expect(await ask("Check", { service: "zone.agent.v1.Process" })).toEqual({ status: 1 });
    await expect(ask("Check", { service: "no.such.Service" })).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
    const list = (await ask("List", {})) as unknown as { statuses: Record<string, unknown> };
    expect(Object.keys(list.statuses)).toContain("zone.agent.v1.System");
  });

  for (const version of ["v1", "v1alpha"]) {
    it(`list and describe services by reflection ${version}`, async () => {
      const dir = resolve(import.meta.dirname, "../../node_modules/@grpc/reflection/build/proto");
      const definition = loadSync(`grpc/reflection/${version}/reflection.proto`, {
        includeDirs: [dir],
        longs: Number,
        oneofs: true,
      });
      const service = definition[`grpc.reflection.${version}.ServerReflection`] as grpc.ServiceDefinition;
      const { path, requestSerialize, responseDeserialize } = service.ServerReflectionInfo as grpc.MethodDefinition<
        object,
        object
      >;
      const call = agent.session.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      const answers: object[] = [];
      call.on("data", (answer) => answers.push(answer));
      const ended = new Promise((settle, reject) => call.on("end", settle).on("error", reject));
      call.write({ listServices: "*" });
      call.write({ fileContainingSymbol: "zone.agent.v1.Process" });
      call.write({ fileContainingSymbol: "no.such.Symbol" });
      call.end();
      await ended;
      const names = (answers[0] as unknown as { listServicesResponse: { service: { name: string }[] } })
        .listServicesResponse.service;
      expect(names.map(({ name }) => name)).toEqual(
        expect.arrayContaining(["zone.agent.v1.Process", "zone.agent.v1.System", "grpc.health.v1.Health"]),
      );
      expect(names.map(({ name }) => name)).not.toContain("zone.bridge.v1.Zones");
      const files = (answers[1] as unknown as { fileDescriptorResponse: { fileDescriptorProto: Buffer[] } })
        .fileDescriptorResponse;
      expect(files.fileDescriptorProto[0]?.includes("StartRequest")).toBe(true);
      expect(answers[2]).toMatchObject({ errorResponse: { errorCode: grpc.status.NOT_FOUND } });
    });
  }
});

describe("a template", () => {
  it("has run an exec once, and takes no work before Renew", async () => {
    const template = await RunningAgent.start("zone.template=1");
    try {
      expect(template.session.hello).toMatchObject({ zoneId: "" });
      expect((await template.system.info({})).machineId ?? "").toBe("");
      await expect(template.processes.list({})).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "ZONE_NOT_RENEWED",
      });
      await expect(template.shell("true").result).rejects.toMatchObject({ reason: "ZONE_NOT_RENEWED" });
      await expect(template.containers.list({})).rejects.toMatchObject({ reason: "ZONE_NOT_RENEWED" });
      const lines: string[] = [];
      for await (const { json } of createClient(SystemService, template.session.client).logs({}))
        lines.push(json ?? "");
      expect(lines.join("\n")).toMatch(/"process":"warm-up".*\n.*"process":"warm-up".*"code":0/);
    } finally {
      expect(await template.stop()).toBe(0);
    }
  });
});

describe("Shutdown", () => {
  it("answers, ends all processes, and ends the zone", async () => {
    const zone = await RunningAgent.start();
    const { process: started } = await zone.processes.start({ spec: spec("sleep", "600") });
    await zone.system.shutdown({ graceMs: 1000 });
    expect(await zone.ended()).toBe(0);
    expect(() => process.kill(started?.pid ?? 0, 0)).toThrow("ESRCH");
  });
});
