import { closeFd, type InitClient, type Exit as InitExit, type InitRecord } from "@zone/native";
import type { Container } from "../container/container.js";
import type { SeccompFilters } from "../container/seccomp/filter.js";
import { agentError } from "../errors.js";
import { LIMITS } from "../limits.js";
import { openContainerPty } from "./container-pty.js";
import type { ProcessMeta } from "./meta.js";
import { OciInit } from "./oci-init.js";
import type { OffsetFile } from "./offset-file.js";
import { notRunning, unknownProcess, ZoneProcess } from "./process.js";
import { type ContainerAccess, findContainer, type Held, ProcessStarts } from "./process-starts.js";
import { adopt } from "./recovery.js";
import type { ProcessSpec } from "./spec.js";
import type { Exit } from "./state.js";
import { openStdio } from "./stdio.js";
import type { Tools } from "./tools.js";

/** What happens to processes, for events and logs. */
export interface ProcessObserver {
  started(process: ZoneProcess, pid: number): void;
  /** PID 1 has reaped it; what it has written may not be read yet. */
  reaped(process: ZoneProcess): void;
  ended(process: ZoneProcess): void;
  /** Something that nobody waits for went wrong. */
  trouble(message: string): void;
}

export interface ProcessTableOptions {
  init: InitClient;
  nextToken: () => bigint;
  tools: Tools;
  offsets: OffsetFile;
  containers: ContainerAccess;
  filters: SeccompFilters;
  /** Opens the cgroup of that name, for a process of the zone itself; with "" the zone's. CGROUP_UNKNOWN. */
  openCgroup(path: string): number | undefined;
  observer: ProcessObserver;
  /** Milliseconds since 1970. */
  now(): number;
}

/** All processes that the agent started and keeps, by id, in order of creation. */
export class ProcessTable {
  readonly #options: ProcessTableOptions;
  readonly #byId = new Map<string, ZoneProcess>();
  readonly #byToken = new Map<bigint, ZoneProcess>();
  readonly #starts: ProcessStarts;
  /** After a restart, until `recover`: exits of processes that are not known yet. */
  #unclaimed: Map<bigint, InitExit> | undefined;
  #named = 0;

  /** Takes over the callbacks of `init`. Call `recover` before anything else when the agent was restarted. */
  constructor(options: ProcessTableOptions) {
    this.#options = options;
    const { init, observer, tools } = options;
    this.#starts = new ProcessStarts({ ...options, initOf: (id) => this.initOf(id) });
    if (init.restarts > 0) this.#unclaimed = new Map();
    init.onExit = (exit) => {
      if (tools.exited(exit)) return;
      const process = this.#byToken.get(exit.token);
      if (process) this.#reaped(process, exit);
      else if (this.#unclaimed) this.#unclaimed.set(exit.token, exit);
      else init.release(exit.token); // of a process that was deleted before it was started
    };
    init.onError = ({ token, request, code }) => {
      // A kill or release that crossed the exit on its way is no trouble.
      if (code !== "ESRCH")
        observer.trouble(`PID 1 refused ${request} for process ${this.#byToken.get(token)?.id ?? token}: ${code}`);
    };
  }

  get all(): Iterable<ZoneProcess> {
    return this.#byId.values();
  }

  /** Throws PROCESS_UNKNOWN. */
  get(id: string): ZoneProcess {
    const process = this.#byId.get(id);
    if (!process) throw unknownProcess(id);
    return process;
  }

  /** Whether the container of that id is of an OCI bundle. */
  isBundle(containerId: string): boolean {
    return this.#options.containers.get(containerId)?.config !== undefined;
  }

  /** The first process of a container, while it is there. */
  initOf(containerId: string): ZoneProcess | undefined {
    for (const process of this.#byId.values()) {
      const alive = ["created", "starting", "running"].includes(process.state.name);
      if (process.meta.init && process.meta.containerId === containerId && alive) return process;
    }
    return undefined;
  }

  /** A new process, CREATED. Throws PROCESS_EXISTS, TOO_MANY_PROCESSES, CONTAINER_UNKNOWN or CONTAINER_HAS_INIT. */
  create(spec: ProcessSpec): ZoneProcess {
    const id = spec.id || this.#freeId();
    if (this.#byId.has(id)) {
      throw agentError("ALREADY_EXISTS", "PROCESS_EXISTS", `there is a process "${id}" already`, {
        resource: { type: "process", name: id },
      });
    }
    if (this.#byId.size >= LIMITS.processes) {
      throw agentError(
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_PROCESSES",
        `${LIMITS.processes} processes are kept: delete some`,
      );
    }
    const container = spec.containerId === "" ? undefined : findContainer(this.#options.containers, spec.containerId);
    if (container && spec.init) this.#checkInit(container);
    const bundle = spec.init ? container?.config?.process : undefined;
    const { containerId, init, user, stdin, outputBufferBytes, outputPolicy, drainGraceMs } = spec;
    const meta: ProcessMeta = {
      ...{ id, containerId, init, stdin, outputBufferBytes, outputPolicy, drainGraceMs },
      user: bundle ? `${bundle.user.uid}:${bundle.user.gid}` : user,
      tty: bundle ? bundle.terminal : spec.tty !== undefined,
      createdAt: this.#options.now(),
      oomKillsBefore: container?.oomKills ?? 0,
    };
    const add = (held: Held, stdio: ZoneProcess["stdio"]) => {
      const argv = bundle ? bundle.args.map((text) => Buffer.from(text)) : spec.argv;
      const process = new ZoneProcess(this.#options.nextToken(), meta, argv, stdio, this.#options.offsets);
      this.#starts.hold(process, held);
      this.#add(process);
      return process;
    };
    if (bundle && container) {
      const oci = OciInit.open(container, this.#options.containers.oci, spec);
      return add({ kind: "oci", init: oci }, oci.stdio);
    }
    const { rootOf } = this.#options.containers;
    const { agent, child } = openStdio(spec, container && ((size) => openContainerPty(rootOf(container.id), size)));
    return add({ kind: "spawn", spec, child }, agent);
  }

  /** What comes before a start when it is held: the init of an OCI bundle is made. On failure the process is FAILED. */
  prepare(process: ZoneProcess): Promise<void> {
    return this.#starts.prepare(process);
  }

  /** Starts a CREATED process; settles when exec has succeeded. On failure it is FAILED, and the error says why. */
  start(process: ZoneProcess): Promise<void> {
    return this.#starts.start(process);
  }

  /** Signals a process that has not been reaped; PROCESS_NOT_RUNNING otherwise. One that is being started is waited for. */
  async signal(process: ZoneProcess, signal: number, group: boolean): Promise<void> {
    await process.whenStarted();
    if (process.state.name !== "running") throw notRunning(process);
    this.#options.init.kill(process.token, signal, { group });
  }

  /** Forgets a process; PROCESS_RUNNING unless it is CREATED or has ended. */
  delete(process: ZoneProcess): void {
    if (process.state.name !== "created" && !process.ended) {
      throw agentError(
        "FAILED_PRECONDITION",
        "PROCESS_RUNNING",
        `process "${process.id}" is ${process.state.name}: end it first`,
      );
    }
    this.#starts.giveUp(process);
    if (process.state.name === "exited") this.#options.init.release(process.token);
    this.#byId.delete(process.id);
    this.#byToken.delete(process.token);
    this.#options.offsets.delete(process.token);
    process.delete();
  }

  /** Kills the init of a container, and settles when it has been reaped; one that was not started is FAILED. */
  async killInit(containerId: string): Promise<void> {
    const process = this.initOf(containerId);
    if (!process) return;
    await process.whenStarted();
    if (process.state.name === "created") {
      const error = agentError("NOT_FOUND", "CONTAINER_UNKNOWN", `container "${containerId}" is being deleted`);
      this.#starts.giveUp(process, error);
    }
    if (process.state.name !== "running") return;
    this.#options.init.kill(process.token, 9);
    await process.whenReaped();
  }

  /** Takes up what PID 1 knows from before this agent; how many processes that are. */
  recover(records: readonly InitRecord[]): number {
    const { init, observer, offsets, tools, containers } = this.#options;
    let taken = 0;
    for (const record of records) {
      if (tools.recover(record)) continue;
      const container = (id: string) => containers.get(id);
      const process = adopt(record, offsets, container, containers.oci);
      if (process && !this.#byId.has(process.id)) {
        // Added, and so observed, before its exit is told.
        this.#add(process);
        const exit = record.exited ?? this.#unclaimed?.get(record.token);
        process.kept((index) => init.dropKept(process.token, index));
        if (process.state.name === "created") this.#starts.holdMade(process, record.pid);
        if (exit) this.#reaped(process, exit);
        taken++;
        continue;
      }
      observer.trouble(`PID 1 has a process ${record.pid} that this agent cannot take up: it is left alone`);
      process?.delete();
      if (!process) for (const fd of record.kept) if (fd !== undefined) closeFd(fd);
      if (record.exited) init.release(record.token);
    }
    for (const [token, exit] of this.#unclaimed ?? []) if (!this.#byToken.has(token)) tools.exited({ ...exit, token });
    this.#unclaimed = undefined;
    offsets.keepOnly(new Set(this.#byToken.keys()));
    return taken;
  }

  #reaped(process: ZoneProcess, exit: InitExit): void {
    const { name } = process.state;
    if (name === "created") {
      const message = `the init of "${process.meta.containerId}" has ended before its start`;
      this.#starts.giveUp(process, agentError("INTERNAL", "SPAWN_FAILED", message));
    }
    if (name === "created" || name === "failed") this.#options.init.release(process.token);
    else process.reaped(this.#toExit(process, exit));
  }

  #toExit({ meta }: ZoneProcess, { code, signal, coreDumped, timeMs }: InitExit): Exit {
    const container = meta.containerId === "" ? undefined : this.#options.containers.get(meta.containerId);
    if (container) container.oomKills = Math.max(container.oomKills, this.#options.containers.oomKills(container));
    const oomKilled = container !== undefined && container.oomKills > meta.oomKillsBefore;
    return { code, signal, coreDumped, oomKilled, at: timeMs };
  }

  #checkInit({ id, config, stopped }: Container): void {
    const init = this.initOf(id);
    if (init) {
      throw agentError("ALREADY_EXISTS", "CONTAINER_HAS_INIT", `container "${id}" has an init: process "${init.id}"`);
    }
    if (!config || !stopped) return;
    throw agentError(
      "FAILED_PRECONDITION",
      "CONTAINER_STOPPED",
      `the init of container "${id}" has ended, and an OCI bundle has but one: make the container anew`,
    );
  }

  /** The observer sees every start and end exactly once, whoever causes it. */
  #add(process: ZoneProcess): void {
    this.#byId.set(process.id, process);
    this.#byToken.set(process.token, process);
    let last = process.state.name;
    process.watch(() => {
      const { state } = process;
      if (state.name === last) return;
      last = state.name;
      if (state.name === "draining") this.#options.observer.reaped(process);
      if (state.name === "running") this.#options.observer.started(process, state.pid);
      if (process.ended) this.#options.observer.ended(process);
    });
  }

  #freeId(): string {
    // Counted, not random: clones of a template would draw the same numbers.
    for (;;) {
      const id = `p${this.#options.init.restarts > 0 ? `${this.#options.init.restarts}-` : ""}${++this.#named}`;
      if (!this.#byId.has(id)) return id;
    }
  }
}
