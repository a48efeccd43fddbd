import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import { createClient, ProcessService, VolumesService, ZoneError, ZonesService, type zone } from "@zone/proto";
import { pino } from "pino";
import { type BridgeParts, type RunningBridge, startBridge } from "../bridge.js";
import { noPorts } from "../zones/ports.js";
import { ScriptedZones } from "./scripted-zones.js";
import { lastOf } from "./test-bridge.js";
import { testImages } from "./test-images.js";

/** A bridge in this process, whose zones are scripted, with clients of it. */
export class ScriptedBridge {
  readonly directory: string;
  readonly driver: ScriptedZones;
  readonly client: Client;
  readonly #parts: Partial<BridgeParts>;
  #bridge: RunningBridge | undefined;

  private constructor(directory: string, parts: Partial<BridgeParts>) {
    this.directory = directory;
    this.#parts = parts;
    this.driver = new ScriptedZones(join(directory, "d"));
    this.client = new Client(`unix:${this.#socket}`, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": 20,
      "grpc.max_reconnect_backoff_ms": 100,
    });
  }

  static async start(parts: Partial<BridgeParts> = {}): Promise<ScriptedBridge> {
    const bridge = new ScriptedBridge(await mkdtemp(join(tmpdir(), "zs-")), parts);
    await bridge.launch();
    return bridge;
  }

  get #socket(): string {
    return join(this.directory, "bridge.sock");
  }
  get zones() {
    return createClient(ZonesService, this.client);
  }
  get volumes() {
    return createClient(VolumesService, this.client);
  }
  get process() {
    return createClient(ProcessService, this.client);
  }

  /** Starts it, again after an end. */
  async launch(): Promise<void> {
    this.#bridge = await startBridge({
      stateDir: join(this.directory, "state"),
      socketPath: this.#socket,
      uid: process.getuid?.() ?? 0,
      members: { uids: [], gids: [] },
      log: pino({ level: "silent" }),
      driver: this.driver,
      openImages: async () => testImages({ image: { cmd: ["main"] } }),
      openPorts: noPorts,
      hostDns: async () => ({ nameservers: ["127.0.0.53"], searches: ["lan"], options: [] }),
      env: process.env,
      host: {
        bridgeVersion: "test",
        pid: process.pid,
        zoneImageVersion: async () => "none",
        hypervisorVersion: async () => "none",
        checks: async () => [],
      },
      ...this.#parts,
    });
  }

  /** The bridge ends, its zones go on. */
  async end(): Promise<void> {
    await this.#bridge?.close();
    this.#bridge = undefined;
  }

  /** Makes a zone; its id. */
  async create(spec: zone.bridge.v1.ZoneSpec.$Properties = {}): Promise<string> {
    const call = this.zones.create({ spec: { image: "image", ...spec } });
    const made = await lastOf(call).catch((error) => Promise.reject(ZoneError.from(error)));
    return made?.zone?.id ?? "";
  }

  async start(id: string): Promise<void> {
    await lastOf(this.zones.start({ zone: id })).catch((error) => Promise.reject(ZoneError.from(error)));
  }

  /** Makes a zone and starts it; its id. */
  async run(spec: zone.bridge.v1.ZoneSpec.$Properties = {}): Promise<string> {
    const id = await this.create(spec);
    await this.start(id);
    return id;
  }

  async get(id: string): Promise<zone.bridge.v1.Zone.$Properties> {
    return (await this.zones.get({ zone: id })).zone ?? {};
  }

  /** Ends all zones and the bridge. */
  async close(): Promise<void> {
    this.driver.scripts.clear();
    const { zones } = await this.zones.list({ all: true });
    await Promise.all(zones.map(({ id }) => this.zones.delete({ zone: id ?? "", force: true })));
    await this.end();
    this.client.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}
