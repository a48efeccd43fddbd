import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { serveLinks } from "@zone/link";
import * as proto from "@zone/proto";
import { ZoneError, type zone } from "@zone/proto";
import type {
  Domain,
  DomainConfig,
  DomainDriver,
  DomainEnd,
  DomainRecord,
  DomainStats,
  NetworkFacts,
} from "../domains/driver.js";

/** A call to a domain ("domain.pause") or to the agent in it ("Container.Update"), with what it was given. */
export interface ScriptedCall {
  method: string;
  request: unknown;
}

/** What a method answers with; it may throw, and it may never settle. */
export type Script = (request: never) => unknown;

type AnyMethod = proto.Service[string];

/**
 * Domains without a guest, for tests of what the bridge asks of domains and agents, in which order, and what it makes of their
 * answers and failures. The links, their handshake and gRPC are real; the agent answers by script.
 */
export class ScriptedZones implements DomainDriver {
  readonly name = "scripted";
  readonly configs: DomainConfig[] = [];
  readonly calls: ScriptedCall[] = [];
  /** By method: "Container.Update", "domain.setMemory". Beside these every call is answered with an empty message. */
  readonly scripts = new Map<string, Script>();
  #taken = 0;
  readonly #directory: string;
  readonly #domains = new Map<string, ScriptedDomain>();

  /** Sockets are made in `directory`: a short path. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  async create(config: DomainConfig): Promise<Domain> {
    this.configs.push(config);
    const directory = join(this.#directory, config.id);
    await mkdir(directory, { recursive: true });
    const domain = new ScriptedDomain(this, config, directory);
    this.#domains.set(config.id, domain);
    await domain.serve();
    return domain;
  }

  async adopt(record: DomainRecord): Promise<Domain | undefined> {
    return this.#domains.get(record.directory.slice(-32));
  }

  /** The main process of a zone ends. */
  exit(id: string, exit: zone.agent.v1.ProcessExit.$Properties): void {
    this.#domains.get(id)?.exit(exit);
  }

  /** The agent of a zone tells of an event. */
  tell(id: string, event: zone.agent.v1.Event.$Properties): void {
    this.#domains.get(id)?.tell(event);
  }

  /** Methods called since the last time that this was asked, but for what the bridge asks on its own account. */
  take(): string[] {
    const own = new Set(["System.Info", "System.Events", "System.Logs", "Process.Wait", "Process.Attach"]);
    const taken = this.calls.slice(this.#taken).map(({ method }) => method);
    this.#taken = this.calls.length;
    return taken.filter((method) => !own.has(method));
  }

  /** The last request of a method. */
  requestOf(method: string): unknown {
    return this.calls.findLast((call) => call.method === method)?.request;
  }

  async answer(method: string, request: unknown): Promise<unknown> {
    this.calls.push({ method, request });
    return this.scripts.get(method)?.(request as never);
  }
}

class ScriptedDomain implements Domain {
  readonly cloned = true;
  readonly record: DomainRecord;
  readonly ended: Promise<DomainEnd>;
  readonly #zones: ScriptedZones;
  readonly #config: DomainConfig;
  readonly #exited: Promise<zone.agent.v1.ProcessExit.$Properties>;
  readonly #events = new Set<grpc.ServerWritableStream<unknown, unknown>>();
  readonly #untold: zone.agent.v1.Event.$Properties[] = [];
  #close = async () => {};
  #end: (end: DomainEnd) => void = () => {};
  exit: (exit: zone.agent.v1.ProcessExit.$Properties) => void = () => {};

  constructor(zones: ScriptedZones, config: DomainConfig, directory: string) {
    this.#zones = zones;
    this.#config = config;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#exited = new Promise((resolve) => {
      this.exit = resolve;
    });
    const link = `unix:${join(directory, "s")}`;
    const own = { pid: process.pid, pidStartTime: "0", accelerator: "none", uid: 0 };
    this.record = { driver: zones.name, directory, link, ...own };
  }

  async serve(): Promise<void> {
    const server = new grpc.Server();
    for (const service of Object.values(proto) as unknown[]) {
      if (isAgentService(service))
        server.addService(service as unknown as grpc.ServiceDefinition, this.#handlers(service));
    }
    const { id } = this.#config;
    const identity = () => ({ zoneId: id, bootId: id, agentVersion: "scripted" });
    const path = this.record.link.slice("unix:".length);
    const links = serveLinks(server, [{ kind: "unix", path }], identity, { keepaliveMs: 0 });
    await links.ready;
    this.#close = async () => {
      await links.close();
      server.forceShutdown();
    };
  }

  tell(event: zone.agent.v1.Event.$Properties): void {
    if (this.#events.size === 0) this.#untold.push(event);
    for (const call of this.#events) call.write(event);
  }

  resume = async () => void (await this.#ask("resume"));
  pause = async () => void (await this.#ask("pause"));
  attachDisk = async (disk: unknown) => void (await this.#ask("attachDisk", disk));
  detachDisk = async (serial: unknown) => void (await this.#ask("detachDisk", serial));
  resizeDisk = async (serial: string, bytes: number) => void (await this.#ask("resizeDisk", { serial, bytes }));
  setMemory = async (bytes: number) => ((await this.#ask("setMemory", bytes)) as number | undefined) ?? bytes;
  setVcpus = async (count: number) => ((await this.#ask("setVcpus", count)) as number | undefined) ?? count;

  async stats(): Promise<DomainStats> {
    const stats = (await this.#ask("stats")) as DomainStats | undefined;
    return stats ?? { cpuUs: 1, pssBytes: 2, privateBytes: 3 };
  }

  networkFacts(): NetworkFacts | undefined {
    if (this.#config.network?.kind !== "user") return undefined;
    return {
      hardwareAddress: "02:00:00:00:00:01",
      addresses: ["10.0.2.15/24", "fd00:7a6f:6e65::f/64"],
      gateways: ["10.0.2.2", "fd00:7a6f:6e65::2"],
      nameservers: ["10.0.2.3"],
      mtu: 1500,
    };
  }

  guestAddress(): string | undefined {
    return this.networkFacts() && "10.0.2.15";
  }

  shareFacts() {
    return (this.#config.shares ?? []).map(({ tag, readOnly }) => ({ tag, readOnly, type: "9p" as const }));
  }

  console = async () => Buffer.from("scripted");

  async destroy(): Promise<void> {
    await this.#close();
    await rm(this.record.directory, { recursive: true, force: true });
    this.#end({ cause: "destroyed" });
  }

  #ask(method: string, request?: unknown): Promise<unknown> {
    return this.#zones.answer(`domain.${method}`, request);
  }

  #handlers(service: proto.Service): grpc.UntypedServiceImplementation {
    return Object.fromEntries(Object.entries(service).map(([name, method]) => [name, this.#handler(method)]));
  }

  #handler(method: AnyMethod): grpc.UntypedHandleCall {
    const name = method.path.replace("/zone.agent.v1.", "").replace("/", ".");
    if (method.kind === "unary") {
      const handle: grpc.handleUnaryCall<unknown, unknown> = (call, callback) => {
        this.#unary(name, call.request).then(
          (response) => callback(null, response ?? {}),
          (error) => callback(ZoneError.from(error).toStatus()),
        );
      };
      return handle;
    }
    if (method.kind === "bidi") {
      // Attach: the whole of the main process's output is nothing, and then its exit.
      const handle: grpc.handleBidiStreamingCall<unknown, unknown> = (call) => {
        call.on("error", () => {});
        call.on("data", () => {});
        this.#exited.then((exit) => call.end(call.write({ exit })));
      };
      return handle;
    }
    const handle: grpc.handleServerStreamingCall<unknown, unknown> = (call) => {
      call.on("error", () => {});
      if (name === "System.Events") {
        this.#events.add(call);
        for (const event of this.#untold.splice(0)) call.write(event);
      }
      call.on("cancelled", () => this.#events.delete(call));
    };
    return handle;
  }

  async #unary(name: string, request: unknown): Promise<unknown> {
    const answer = await this.#zones.answer(name, request);
    if (name === "Process.Wait") return { process: { id: "main", exit: await this.#exited } };
    if (name === "System.Shutdown") setImmediate(() => void this.destroy());
    return answer;
  }
}

function isAgentService(exported: unknown): exported is proto.Service {
  if (typeof exported !== "object" || exported === null) return false;
  return Object.values(exported).some((method) => String(method?.path).startsWith("/zone.agent.v1."));
}
