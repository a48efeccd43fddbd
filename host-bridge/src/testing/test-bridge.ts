import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, credentials } from "@grpc/grpc-js";
import {
  type CallOptions,
  createClient,
  HostService,
  ImagesService,
  ProcessService,
  SystemService,
  ZonesService,
  type zone,
} from "@zone/proto";

const PROGRAM = fileURLToPath(new URL("../../dist/testing/process-bridge.js", import.meta.url));

/** A bridge in a process of its own, whose zones are processes, with clients of it. */
export class TestBridge {
  readonly directory: string;
  readonly client: Client;
  #child: ChildProcess | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.client = new Client(`unix:${this.socket}`, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": 20,
      "grpc.max_reconnect_backoff_ms": 100,
    });
  }

  static async start(...args: string[]): Promise<TestBridge> {
    const bridge = new TestBridge(await mkdtemp(join(tmpdir(), "zb-")));
    await bridge.launch(...args);
    return bridge;
  }

  get socket(): string {
    return join(this.directory, "bridge.sock");
  }
  get zones() {
    return createClient(ZonesService, this.client);
  }
  get images() {
    return createClient(ImagesService, this.client);
  }
  get host() {
    return createClient(HostService, this.client);
  }
  get process() {
    return createClient(ProcessService, this.client);
  }
  get system() {
    return createClient(SystemService, this.client);
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it, again after an end. */
  async launch(...args: string[]): Promise<void> {
    const log = openSync(join(this.directory, "log"), "a");
    const child = spawn(process.execPath, [PROGRAM, this.directory, ...args], { stdio: ["ignore", "pipe", log] });
    const ended = once(child, "exit").then(async () => {
      throw new Error(`the bridge ended: ${(await this.log()).slice(-4000)}`);
    });
    ended.catch(() => {});
    const ready = new Promise((resolve) => child.stdout?.once("data", resolve));
    await Promise.race([ready, ended]);
    this.#child = child;
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  log(): Promise<string> {
    return readFile(join(this.directory, "log"), "utf8");
  }

  /** Makes a zone that runs `script`, and starts it. */
  async run(script: string, spec: zone.bridge.v1.ZoneSpec.$Properties = {}, holdMain = false): Promise<string> {
    const id = await this.create(script, spec);
    await lastOf(this.zones.start({ zone: id, holdMain }));
    return id;
  }

  async create(script: string, spec: zone.bridge.v1.ZoneSpec.$Properties = {}): Promise<string> {
    const command = ["sh", "-c", script].map((text) => Buffer.from(text));
    const made = await lastOf(this.zones.create({ spec: { image: "sh", command, ...spec } }));
    return made?.zone?.id ?? "";
  }

  /** Ends all zones and the bridge. */
  async close(): Promise<void> {
    const { zones } = await this.zones.list({ all: true });
    await Promise.all(zones.map(({ id }) => this.zones.delete({ zone: id ?? "", force: true })));
    await this.end("SIGTERM");
    this.client.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The last message of a stream. */
export async function lastOf<T>(stream: AsyncIterable<T>): Promise<T | undefined> {
  let last: T | undefined;
  for await (const message of stream) last = message;
  return last;
}

/** Call options that go to a zone. */
export function inZone(id: string, options: CallOptions = {}): CallOptions {
  return { ...options, metadata: { "zone-id": id } };
}
