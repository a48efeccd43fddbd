import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, credentials } from "@grpc/grpc-js";
import { createClient, ProcessService, ZoneError, ZonesService, type zone } from "@zone/proto";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningBridge, startBridge } from "../bridge.js";
import type { Domain, DomainConfig, DomainDriver } from "../domains/driver.js";
import { ProcessDriver } from "../testing/process-driver.js";
import { inZone, lastOf } from "../testing/test-bridge.js";
import { testImages } from "../testing/test-images.js";
import { noPorts } from "../zones/ports.js";

const repository = fileURLToPath(new URL("../../..", import.meta.url));

/** Zones whose links lead through here, where the agent's side can be made to say anything. */
class Meddler implements DomainDriver {
  readonly name = "process";
  readonly #real: ProcessDriver;
  readonly #links = new Map<string, { server: Server; toBridge: Set<Socket> }>();

  constructor(directory: string) {
    const agent = join(repository, "agent/dist/main.js");
    this.#real = new ProcessDriver({ directory, init: join(repository, "native/build/zone-init"), agent });
  }

  async create(config: DomainConfig): Promise<Domain> {
    const domain = await this.#real.create(config);
    const path = join(domain.record.directory, "meddled.sock");
    const toBridge = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect(domain.record.link.slice("unix:".length));
      for (const socket of [near, far]) {
        socket.on("error", () => {});
        socket.on("close", () => [near, far].forEach((each) => void each.destroy()));
      }
      near.pipe(far).pipe(near);
      toBridge.add(near);
      near.on("close", () => toBridge.delete(near));
    });
    server.listen(path);
    this.#links.set(config.id, { server, toBridge });
    domain.ended.then(() => server.close());
    return {
      record: { ...domain.record, link: `unix:${path}` },
      cloned: domain.cloned,
      ended: domain.ended,
      resume: () => domain.resume(),
      pause: () => domain.pause(),
      attachDisk: (disk) => domain.attachDisk(disk),
      detachDisk: (serial) => domain.detachDisk(serial),
      resizeDisk: (serial, bytes) => domain.resizeDisk(serial, bytes),
      setMemory: (bytes) => domain.setMemory(bytes),
      setVcpus: (count) => domain.setVcpus(count),
      stats: () => domain.stats(),
      networkFacts: () => domain.networkFacts(),
      guestAddress: () => domain.guestAddress(),
      shareFacts: () => domain.shareFacts(),
      console: () => domain.console(),
      destroy: () => domain.destroy(),
    };
  }

  adopt = (record: Domain["record"]) => this.#real.adopt(record);

  /** The zone's agent says this to the bridge, in the middle of whatever it was saying. */
  say(id: string, bytes: Uint8Array): void {
    for (const socket of this.#links.get(id)?.toBridge ?? []) socket.write(bytes);
  }
}

let directory: string;
let meddler: Meddler;
let bridge: RunningBridge;
let client: Client;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zb-"));
  meddler = new Meddler(join(directory, "domains"));
  bridge = await startBridge({
    stateDir: join(directory, "state"),
    socketPath: join(directory, "bridge.sock"),
    uid: process.getuid?.() ?? 0,
    members: { uids: [], gids: [] },
    log: pino({ level: "silent" }),
    driver: meddler,
    openPorts: noPorts,
    hostDns: async () => ({ nameservers: [], searches: [], options: [] }),
    env: process.env,
    openImages: async () => testImages({ sh: { cmd: ["sh"] } }),
    host: {
      bridgeVersion: "test",
      pid: process.pid,
      zoneImageVersion: async () => "",
      hypervisorVersion: async () => "",
      checks: async () => [],
    },
    isolation: "none",
  });
  client = new Client(`unix:${join(directory, "bridge.sock")}`, credentials.createInsecure());
});
afterAll(async () => {
  const zones = createClient(ZonesService, client);
  for (const { id } of (await zones.list({ all: true })).zones) await zones.delete({ zone: id ?? "", force: true });
  client.close();
  await bridge.close();
  await rm(directory, { recursive: true, force: true });
});

async function runZone(script: string): Promise<string> {
  const zones = createClient(ZonesService, client);
  const command = ["sh", "-c", script].map((text) => Buffer.from(text));
  const id = (await lastOf(zones.create({ spec: { image: "sh", command } })))?.zone?.id ?? "";
  await lastOf(zones.start({ zone: id }));
  return id;
}

describe("a zone whose agent talks nonsense", () => {
  const frames: [string, Uint8Array][] = [
    // HTTP/2 gives up the session, which the link notices when its next keepalive is not answered.
    ["random bytes", randomBytes(4096)],
    ["a GOAWAY", Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
  ];
  it.each(frames)(
    "(%s) loses its own link only, which is remade",
    async (_, bytes) => {
      const zones = createClient(ZonesService, client);
      const processes = createClient(ProcessService, client);
      const [bad, good] = await Promise.all([runZone("sleep 1000"), runZone("sleep 1000")]);
      const hurt = processes.wait({ id: "main" }, inZone(bad)).catch(ZoneError.from);
      let goodEnded = false;
      const unhurt = processes.wait({ id: "main" }, inZone(good)).catch((error) => {
        goodEnded = true;
        return ZoneError.from(error);
      });
      const watch = zones.watch({});
      watch.on("error", () => {});
      await once(watch, "data");
      const seen: string[] = [];
      const remade = new Promise<void>((resolve) => {
        watch.on("data", ({ type, zone: changed }: zone.bridge.v1.ZoneEvent) => {
          seen.push(`${type} ${changed?.id === bad ? "bad" : "other"}`);
          if (seen.includes("link-down bad") && type === "link-up") resolve();
        });
      });
      // The waits must have reached their agents before the links are meddled with.
      await Promise.all([bad, good].map((id) => processes.list({}, inZone(id))));
      meddler.say(bad, bytes);
      await remade;
      watch.cancel();
      expect(await hurt).toMatchObject({ reason: "ZONE_UNREACHABLE" });
      expect(goodEnded).toBe(false);
      expect(seen.filter((event) => event.endsWith("other"))).toEqual([]);
      expect((await processes.get({ id: "main" }, inZone(bad))).process?.id).toBe("main");
      for (const id of [bad, good]) await zones.delete({ zone: id, force: true });
      expect(await unhurt).toMatchObject({ reason: "ZONE_NOT_RUNNING" });
    },
    180_000,
  );
});

describe("bulk output", () => {
  it("carries 100 MiB of a zone's process to a client, with little memory", async () => {
    const id = await runZone("sleep 1000");
    const processes = createClient(ProcessService, client);
    const call = processes.attach(inZone(id));
    const argv = ["sh", "-c", "head -c 104857600 /dev/zero"].map((text) => Buffer.from(text));
    call.write({ open: { spec: { argv, capabilities: {} } } });
    const before = process.memoryUsage().rss;
    let [bytes, most, code] = [0, 0, -1];
    for await (const message of call as AsyncIterable<zone.agent.v1.AttachResponse>) {
      if (message.output) {
        bytes += message.output.data?.length ?? 0;
        call.write({ ack: { stream: message.output.stream ?? 1, offset: bytes } });
        most = Math.max(most, process.memoryUsage().rss);
      }
      if (message.exit) code = message.exit.code ?? 0;
    }
    expect([bytes, code]).toEqual([104857600, 0]);
    // Bridge and client are both this process.
    expect(most - before).toBeLessThan(192 * 1024 * 1024);
    await createClient(ZonesService, client).delete({ zone: id, force: true });
  }, 180_000);
});
