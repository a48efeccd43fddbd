import { randomBytes } from "node:crypto";
import * as grpc from "@grpc/grpc-js";
import {
  type Handlers,
  HostService,
  ImagesService,
  NetworkService,
  ProcessService,
  toTimestamp,
  unimplemented,
  VolumesService,
  ZonesService,
} from "@zone/proto";
import { api } from "../messages.js";
import { HostProcess, type KeptOutput } from "./host-process.js";
import { networkHandlers } from "./network-service.js";
import { processHandlers } from "./process-service.js";
import { resourceHandlers, volumeHandlers } from "./resources-service.js";
import { failure, streaming, unary } from "./rpc.js";

/** A zone of the test bridge: its processes are processes of this host. */
export interface TestZone {
  readonly message: api.Zone.$Properties & { id: string; spec: api.ZoneSpec.$Properties };
  readonly processes: Map<string, HostProcess>;
  readonly ended: Promise<void>;
  end(cause: api.EndCause, exitCode: number, message?: string): void;
}

/** What a test may hold up: a call that reaches a gate waits until it opens. */
export interface Gates {
  create?: Promise<void>;
  start?: Promise<void>;
  /** Of a Forward: before it is answered. */
  forward?: Promise<void>;
}

export const IMAGE: api.Image.$Properties = {
  references: ["busybox"],
  digest: `sha256:${"ab".repeat(32)}`,
  sizeBytes: 4 * 1024 * 1024,
  pulledAt: toTimestamp(Date.UTC(2024, 0, 1)),
  cmd: ["sh"],
  env: ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "FROM_IMAGE=1"],
  workingDir: "",
  architecture: "amd64",
};

/**
 * Stands in for zone-bridge in tests of zonectl: a real gRPC server on a real Unix socket, whose zones are groups of host
 * processes. What it shows is that zonectl speaks the API; that zones do is shown by the suite that boots them.
 */
export class TestBridge {
  readonly zones = new Map<string, TestZone>();
  readonly gates: Gates = {};
  readonly calls: string[] = [];
  /** The Attach calls that are open. */
  readonly attachments = new Set<{ emit(event: "error", error: unknown): unknown }>();
  /** The kept output of zones whose processes are gone. */
  readonly logs = new Map<string, KeptOutput[]>();
  /** The next Attach makes its process, and the connection breaks before the answer. */
  dropBeforeOpened = false;
  readonly images: api.Image.$Properties[] = [IMAGE];
  checks: api.Check.$Properties[] = [];
  private server: grpc.Server | undefined;
  private readonly watchers = new Set<(event: api.ZoneEvent.$Properties) => void>();

  constructor(readonly path: string) {}

  async listen(): Promise<void> {
    const server = new grpc.Server();
    server.addService(ZonesService as never, this.zonesHandlers() as never);
    server.addService(ProcessService as never, processHandlers(this) as never);
    server.addService(ImagesService as never, this.imagesHandlers() as never);
    server.addService(VolumesService as never, volumeHandlers(this.calls) as never);
    server.addService(NetworkService as never, networkHandlers(this.gates, this.calls) as never);
    server.addService(HostService as never, this.hostHandlers() as never);
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${this.path}`, grpc.ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    this.server = server;
  }

  /** Breaks every connection, as a bridge that is killed; zones live. */
  drop(): void {
    this.server?.forceShutdown();
    this.server = undefined;
  }

  /** Ends the Attach calls as the bridge does when a zone's link breaks. */
  breakAttachments(): void {
    const error = failure("UNAVAILABLE", "ZONE_UNREACHABLE", "the link is down");
    for (const call of this.attachments) call.emit("error", error.toStatus());
  }

  async close(): Promise<void> {
    for (const zone of this.zones.values()) zone.end(api.EndCause.END_CAUSE_STOPPED, 137);
    this.drop();
  }

  zone(name: string): TestZone {
    for (const zone of this.zones.values()) {
      if (zone.message.id.startsWith(name) || zone.message.spec.name === name) return zone;
    }
    throw failure("NOT_FOUND", "ZONE_UNKNOWN", `no zone '${name}'`);
  }

  /** The only zone there is. */
  get only(): TestZone {
    const [zone] = this.zones.values();
    if (!zone) throw new Error("there is no zone");
    return zone;
  }

  private zonesHandlers(): Handlers<typeof ZonesService> {
    return {
      ...unimplemented(ZonesService),
      ...resourceHandlers(this),
      create: streaming(
        this.calls,
        "create",
        async (call: grpc.ServerWritableStream<api.CreateRequest, api.CreateProgress.$Properties>) => {
          const spec = call.request.spec ?? {};
          call.write({ progress: { phase: "pull", message: `pulling ${spec.image}`, done: 1, total: 4 } });
          await this.gates.create;
          if (call.cancelled) return;
          if (spec.image === "missing") throw failure("NOT_FOUND", "IMAGE_UNKNOWN", `no image '${spec.image}'`);
          if ([...this.zones.values()].some((zone) => spec.name && zone.message.spec.name === spec.name)) {
            throw failure("ALREADY_EXISTS", "NAME_IN_USE", `the name '${spec.name}' is in use`);
          }
          call.write({ zone: this.makeZone(spec).message });
        },
      ),
      start: streaming(
        this.calls,
        "start",
        async (call: grpc.ServerWritableStream<api.StartZoneRequest, api.StartProgress.$Properties>) => {
          const zone = this.zone(call.request.zone);
          this.become(zone, api.ZoneState.ZONE_STATE_STARTING, "starting");
          call.write({ progress: { phase: "boot", message: "booting" } });
          await this.gates.start;
          if (call.cancelled) return;
          this.become(zone, api.ZoneState.ZONE_STATE_RUNNING, "running");
          const main = this.mainOf(zone);
          if (!call.request.holdMain) main.start();
          if (main.failure) throw failure("NOT_FOUND", main.failure.reason, main.failure.message);
          call.write({ zone: zone.message });
        },
      ),
      stop: unary(this.calls, "stop", async ({ zone: name }) => {
        const zone = this.zone(name);
        zone.processes.get("main")?.signal(15);
        await zone.ended;
        return { zone: zone.message };
      }),
      delete: unary(this.calls, "delete", async ({ zone: name, force }) => {
        const zone = this.zone(name);
        const isOver = zone.message.state === api.ZoneState.ZONE_STATE_ENDED;
        if (!isOver && !force && zone.message.state !== api.ZoneState.ZONE_STATE_CREATED) {
          throw failure("FAILED_PRECONDITION", "ZONE_RUNNING", `zone '${name}' runs`);
        }
        if (!isOver) zone.end(api.EndCause.END_CAUSE_STOPPED, 137);
        this.zones.delete(zone.message.id);
        return {};
      }),
      get: unary(this.calls, "get", async ({ zone }) => ({ zone: this.zone(zone).message })),
      list: unary(this.calls, "list", async ({ all }) => ({
        zones: [...this.zones.values()]
          .map((zone) => zone.message)
          .filter((zone) => all || zone.state !== api.ZoneState.ZONE_STATE_ENDED),
      })),
      wait: unary(this.calls, "wait", async ({ zone: name }) => {
        const zone = this.zone(name);
        await zone.ended;
        return { zone: zone.message };
      }),
      watch: streaming(
        this.calls,
        "watch",
        (call: grpc.ServerWritableStream<api.WatchZonesRequest, api.ZoneEvent.$Properties>) => {
          call.write({});
          const watcher = (event: api.ZoneEvent.$Properties) => call.write(event);
          this.watchers.add(watcher);
          return new Promise((resolve) => call.on("cancelled", resolve)).then(() => void this.watchers.delete(watcher));
        },
      ),
      logs: streaming(
        this.calls,
        "logs",
        async (call: grpc.ServerWritableStream<api.ZoneLogsRequest, api.ZoneLogRecord.$Properties>) => {
          const zone = this.zone(call.request.zone);
          const time = toTimestamp(Date.UTC(2024, 0, 2, 3, 4, 5, 678));
          if (call.request.system) call.write({ stream: "console", time, data: Buffer.from("Linux version\n") });
          else
            for (const { name, bytes } of this.logs.get(zone.message.id) ?? zone.processes.get("main")?.outputs ?? [])
              call.write({ stream: name, time, data: bytes });
        },
      ),
    };
  }

  private imagesHandlers(): Handlers<typeof ImagesService> {
    return {
      pull: streaming(
        this.calls,
        "image.pull",
        async (call: grpc.ServerWritableStream<api.PullRequest, api.PullProgress.$Properties>) => {
          if (call.request.reference === "missing") throw failure("NOT_FOUND", "IMAGE_UNKNOWN", "no image 'missing'");
          call.write({ progress: { phase: "pull", message: "copying" } });
          call.write({ image: IMAGE });
        },
      ),
      list: unary(this.calls, "image.list", async () => ({ images: this.images })),
      remove: unary(this.calls, "image.remove", async ({ image }) => {
        if (this.zones.size > 0) throw failure("FAILED_PRECONDITION", "IMAGE_IN_USE", `image '${image}' is in use`);
        return {};
      }),
    };
  }

  private hostHandlers(): Handlers<typeof HostService> {
    return {
      version: unary(this.calls, "version", async () => ({
        bridgeVersion: "9.9.9",
        protocolMin: 1,
        protocolMax: 1,
        zoneImageVersion: "z1",
        hypervisorVersion: "7.2",
        pid: process.pid,
      })),
      doctor: unary(this.calls, "doctor", async () => ({ checks: this.checks })),
    };
  }

  private makeZone(spec: api.ZoneSpec.$Properties): TestZone {
    const id = randomBytes(16).toString("hex");
    const argv = [
      ...(spec.entrypoint?.argv ?? []),
      ...(spec.command?.length ? spec.command : spec.entrypoint ? [] : [Buffer.from("sh")]),
    ];
    const named = { ...spec, name: spec.name || `zone-${id.slice(0, 4)}` };
    let over = () => {};
    const ended = new Promise<void>((resolve) => {
      over = resolve;
    });
    const zone: TestZone = {
      message: {
        id,
        spec: named,
        argv,
        state: api.ZoneState.ZONE_STATE_CREATED,
        imageDigest: IMAGE.digest,
        createdAt: toTimestamp(Date.now()),
      },
      processes: new Map(),
      ended,
      end: (cause, exitCode, message = "") => {
        if (zone.message.state === api.ZoneState.ZONE_STATE_ENDED) return;
        Object.assign(zone.message, {
          endCause: cause,
          exitCode,
          endMessage: message,
          endedAt: toTimestamp(Date.now()),
        });
        for (const one of zone.processes.values()) if (one.state === "running") one.signal(9);
        this.become(zone, api.ZoneState.ZONE_STATE_ENDED, "ended");
        if (named.autoRemove) this.zones.delete(id);
        over();
      },
    };
    this.zones.set(id, zone);
    this.become(zone, api.ZoneState.ZONE_STATE_CREATED, "created");
    return zone;
  }

  private mainOf(zone: TestZone): HostProcess {
    const { spec, argv } = zone.message;
    const env = [...(IMAGE.env ?? []).map((entry) => Buffer.from(entry)), ...(spec.env ?? [])];
    const tty = spec.tty ? { rows: spec.ttyRows ?? 0, columns: spec.ttyColumns ?? 0 } : null;
    const main = new HostProcess("main", { id: "main", argv: argv ?? [], env, tty, stdin: spec.stdin ?? false });
    main.listeners.add(() => {
      // After the attachments: an attached client has its exit before its zone is gone.
      if (main.exit)
        setImmediate(() =>
          zone.end(api.EndCause.END_CAUSE_EXITED, main.exit?.signal ? 128 + main.exit.signal : (main.exit?.code ?? 0)),
        );
      else if (main.failure) setImmediate(() => zone.end(api.EndCause.END_CAUSE_START_FAILED, 127));
    });
    zone.processes.set("main", main);
    return main;
  }

  private become(zone: TestZone, state: api.ZoneState, type: string): void {
    zone.message.state = state;
    if (type === "running") zone.message.startedAt = toTimestamp(Date.now());
    for (const watcher of this.watchers) watcher({ type, time: toTimestamp(Date.now()), zone: zone.message });
  }
}
