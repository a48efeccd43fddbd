import { closeFd, type InitClient, type Exit as InitExit, type InitRecord } from "@zone/native";
import { agentError } from "../errors.js";
import { LIMITS } from "../limits.js";
import { encodeMeta, type ProcessMeta } from "./meta.js";
import type { OffsetFile } from "./offset-file.js";
import { notRunning, unknownProcess, ZoneProcess } from "./process.js";
import { adopt, tokenGenerations } from "./recovery.js";
import { startError, toFailure } from "./spawn-failure.js";
import { type Place, spawnPlan, userIn } from "./spawn-plan.js";
import type { ProcessSpec } from "./spec.js";
import type { Exit } from "./state.js";
import { type ChildStdio, openStdio } from "./stdio.js";

/** What a process must know of its container. */
export interface ContainerPlace {
  id: string;
  rootfs: string;
  hostname: string;
  readOnly: boolean;
  /** Directory descriptor of its cgroup; stays the container's. */
  cgroup: number | undefined;
}

/** What happens to processes, for events and logs. */
export interface ProcessObserver {
  started(process: ZoneProcess, pid: number): void;
  ended(process: ZoneProcess): void;
  /** Something that nobody waits for went wrong. */
  trouble(message: string): void;
}

export interface ProcessTableOptions {
  init: InitClient;
  offsets: OffsetFile;
  /** The container of that id; undefined when there is none. */
  container(id: string): ContainerPlace | undefined;
  observer: ProcessObserver;
  /** Milliseconds since 1970. */
  now(): number;
}

/** A process that has not been started: its spec, and the child's ends of its stdio. */
interface Held {
  spec: ProcessSpec;
  child: ChildStdio;
}

/** All processes that the agent started and keeps, by id, in order of creation. */
export class ProcessTable {
  readonly #options: ProcessTableOptions;
  readonly #byId = new Map<string, ZoneProcess>();
  readonly #byToken = new Map<bigint, ZoneProcess>();
  readonly #held = new Map<ZoneProcess, Held>();
  readonly #nextToken: () => bigint;
  /** After a restart, until `recover`: exits of processes that are not known yet. */
  #unclaimed: Map<bigint, Exit> | undefined;
  #named = 0;

  /** Takes over the callbacks of `init`. Call `recover` before anything else when the agent was restarted. */
  constructor(options: ProcessTableOptions) {
    this.#options = options;
    const { init, observer } = options;
    this.#nextToken = tokenGenerations(init.restarts);
    if (init.restarts > 0) this.#unclaimed = new Map();
    init.onExit = (exit) => {
      const process = this.#byToken.get(exit.token);
      if (process) process.reaped(toExit(exit));
      else this.#unclaimed?.set(exit.token, toExit(exit));
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
    if (spec.containerId !== "") this.#container(spec.containerId);
    if (spec.init) this.#checkNoInit(spec.containerId);
    const { containerId, init, user, stdin, outputBufferBytes, outputPolicy, drainGraceMs } = spec;
    const meta: ProcessMeta = {
      ...{ id, containerId, init, user, stdin, outputBufferBytes, outputPolicy, drainGraceMs },
      tty: spec.tty !== undefined,
      createdAt: this.#options.now(),
    };
    const stdio = openStdio(spec);
    const process = new ZoneProcess(this.#nextToken(), meta, spec.argv, stdio.agent, this.#options.offsets);
    this.#held.set(process, { spec, child: stdio.child });
    this.#add(process);
    return process;
  }

  /** Starts a CREATED process; settles when exec has succeeded. On failure it is FAILED, and the error says why. */
  async start(process: ZoneProcess): Promise<void> {
    process.starting();
    const held = this.#held.get(process);
    if (!held) throw new Error(`process "${process.id}" has no descriptors to start with`);
    this.#held.delete(process);
    try {
      await this.#spawn(process, held);
    } catch (thrown) {
      held.child.close();
      const error = startError(thrown, programName(process.argv));
      process.failed(toFailure(error));
      throw error;
    }
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
    this.#held.get(process)?.child.close();
    this.#held.delete(process);
    if (process.state.name === "exited") this.#options.init.release(process.token);
    this.#byId.delete(process.id);
    this.#byToken.delete(process.token);
    this.#options.offsets.delete(process.token);
    process.delete();
  }

  /** Takes up what PID 1 knows from before this agent; how many processes that are. */
  recover(records: readonly InitRecord[]): number {
    const { init, observer, offsets } = this.#options;
    let taken = 0;
    for (const record of records) {
      const process = adopt(record, offsets);
      if (process && !this.#byId.has(process.id)) {
        // Added, and so observed, before its exit is told.
        this.#add(process);
        const exit = record.exited ? toExit(record.exited) : this.#unclaimed?.get(record.token);
        process.kept((index) => init.dropKept(process.token, index));
        if (exit) process.reaped(exit);
        taken++;
        continue;
      }
      observer.trouble(`PID 1 has a process ${record.pid} that this agent cannot take up: it is left alone`);
      process?.delete();
      if (!process) for (const fd of record.kept) if (fd !== undefined) closeFd(fd);
      if (record.exited) init.release(record.token);
    }
    this.#unclaimed = undefined;
    offsets.keepOnly(new Set(this.#byToken.keys()));
    return taken;
  }

  async #spawn(process: ZoneProcess, { spec, child }: Held): Promise<void> {
    const { init, now } = this.#options;
    const container = spec.containerId === "" ? undefined : this.#container(spec.containerId);
    const place = container ? this.#placeIn(container, process) : ({ kind: "zone" } as const);
    const user = userIn(place, spec);
    const plan = spawnPlan(spec, place, user, encodeMeta(process.meta));
    const kept = process.kept((index) => init.dropKept(process.token, index));
    const stdio = child.take(user.uid);
    const { pid } = await init.spawn(process.token, plan, { stdio, kept, cgroup: container?.cgroup });
    process.spawned(pid, now());
  }

  #placeIn(container: ContainerPlace, process: ZoneProcess): Place {
    const { rootfs, hostname, readOnly } = container;
    if (process.meta.init) return { kind: "init", rootfs, hostname, readOnly };
    const init = this.initOf(container.id);
    if (init?.state.name === "running") return { kind: "join", rootfs, init: init.token };
    throw agentError("FAILED_PRECONDITION", "CONTAINER_NOT_RUNNING", `container "${container.id}" has no running init`);
  }

  #container(id: string): ContainerPlace {
    const container = this.#options.container(id);
    if (container) return container;
    throw agentError("NOT_FOUND", "CONTAINER_UNKNOWN", `there is no container "${id}"`, {
      resource: { type: "container", name: id },
    });
  }

  #checkNoInit(containerId: string): void {
    const init = this.initOf(containerId);
    if (!init) return;
    throw agentError(
      "ALREADY_EXISTS",
      "CONTAINER_HAS_INIT",
      `container "${containerId}" has an init: process "${init.id}"`,
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

function toExit({ code, signal, coreDumped, timeMs }: InitExit): Exit {
  return { code, signal, coreDumped, at: timeMs };
}

/** argv[0] for a message: text, bounded. */
function programName(argv: readonly Uint8Array[]): string {
  return Buffer.from(argv[0] ?? [])
    .toString("utf8")
    .slice(0, 200);
}
