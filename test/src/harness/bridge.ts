import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, credentials } from "@grpc/grpc-js";
import {
  type CallOptions,
  CgroupService,
  ContainerService,
  createClient,
  FileService,
  HostService,
  ImagesService,
  MountService,
  NetworkService,
  ProcessService,
  SystemService,
  VolumesService,
  ZonesService,
} from "@zone/proto";
import { type Outcome, type RunOptions, runProgram } from "./program.js";

/** The repository's root. */
export const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
export const zonectlPath = join(repository, "cli", "bin", "zonectl.mjs");
const bridgePath = join(repository, "host-bridge", "build", "zone-bridge.mjs");

/** Templates are costly to make, so all test files share one state folder, one after the other. */
const sharedState = join(repository, ".cache", "vm-test-state");

export interface BridgeOptions {
  /** Where it keeps its state; shared by all tests by default. */
  stateDir?: string;
  env?: Record<string, string>;
}

/** A real bridge of the test's own, on a socket of its own. */
export class TestBridge {
  readonly runDir = mkdtempSync(join(tmpdir(), "zone-test-"));
  readonly stateDir: string;
  readonly socket = join(this.runDir, "bridge.sock");
  private readonly extraEnv: Record<string, string>;
  private process: ChildProcess | undefined;
  private grpc: Client | undefined;

  private constructor(options: BridgeOptions) {
    this.stateDir = options.stateDir ?? sharedState;
    this.extraEnv = options.env ?? {};
    mkdirSync(this.stateDir, { recursive: true });
  }

  /** Starts a bridge and answers when it serves. */
  static async start(options: BridgeOptions = {}): Promise<TestBridge> {
    const bridge = new TestBridge(options);
    await bridge.launch();
    return bridge;
  }

  get pid(): number {
    if (this.process?.pid === undefined) throw new Error("the bridge is not running");
    return this.process.pid;
  }

  get env(): Record<string, string> {
    return { ZONE_RUN_DIR: this.runDir, ZONE_STATE_DIR: this.stateDir, ZONE_NO_AUTOSTART: "1", ...this.extraEnv };
  }

  /** Starts it again after kill() or stop(). */
  async launch(): Promise<void> {
    const log = createWriteStream(join(this.runDir, "bridge.log"), { flags: "a" });
    await once(log, "open");
    const child = spawn(process.execPath, [bridgePath], {
      env: { ...process.env, ...this.env },
      stdio: ["ignore", log, log],
    });
    this.process = child;
    const ended = once(child, "exit").then(() => {
      throw new Error(`the bridge ended:\n${readFileSync(join(this.runDir, "bridge.log"), "utf8").slice(-4000)}`);
    });
    ended.catch(() => undefined);
    await Promise.race([ended, answers(this.socket)]);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** SIGTERM; its zones live on. */
  async stop(): Promise<void> {
    await this.end("SIGTERM");
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** Removes all zones, ends the bridge and removes its run folder. */
  async close(): Promise<void> {
    const { zones = [] } = await this.zones.list({ all: true });
    await Promise.all(zones.map(({ id }) => this.zones.delete({ zone: id ?? "", force: true })));
    await this.stop();
    this.grpc?.close();
    rmSync(this.runDir, { recursive: true, force: true });
  }

  /** Runs the real zonectl against this bridge. */
  zonectl(args: string[], options: RunOptions = {}): Promise<Outcome> {
    return runProgram(process.execPath, [zonectlPath, ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** Starts a zone that stays, and answers with its id; `flags` are of `zonectl run`. Progress on stderr is fine. */
  async detached(name: string, command: string[], flags: string[] = [], image = "busybox"): Promise<string> {
    const { code, stdout, stderr } = await this.zonectl(["run", "-d", "--name", name, ...flags, image, ...command]);
    if (code !== 0) throw new Error(`zone ${name}: exit ${code}: ${stderr}`);
    return stdout.toString().trim();
  }

  get client(): Client {
    this.grpc ??= new Client(`unix:${this.socket}`, credentials.createInsecure());
    return this.grpc;
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
  get process_() {
    return createClient(ProcessService, this.client);
  }
  get system() {
    return createClient(SystemService, this.client);
  }
  get container() {
    return createClient(ContainerService, this.client);
  }
  get mount() {
    return createClient(MountService, this.client);
  }
  get cgroup() {
    return createClient(CgroupService, this.client);
  }
  get network() {
    return createClient(NetworkService, this.client);
  }
  get file() {
    return createClient(FileService, this.client);
  }
  get volumes() {
    return createClient(VolumesService, this.client);
  }
}

export type { CallOptions };

/** Call options that forward to a zone. */
export function inZone(zone: string, options: CallOptions = {}): CallOptions {
  return { ...options, metadata: { ...options.metadata, "zone-id": zone } };
}

/** Settles when something accepts on the socket. */
async function answers(path: string): Promise<void> {
  for (;;) {
    const accepted = existsSync(path) && (await accepts(path));
    if (accepted) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
