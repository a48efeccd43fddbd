import { closeSync } from "node:fs";
import type { InitClient, NamespaceChoice } from "@zone/native";
import type { Container } from "../container/container.js";
import type { OpenRoot } from "../container/open-root.js";
import type { SeccompFilters } from "../container/seccomp/filter.js";
import { agentError } from "../errors.js";
import { encodeMeta } from "./meta.js";
import { OciInit, type OciRuntime } from "./oci-init.js";
import type { ZoneProcess } from "./process.js";
import { startError, toFailure } from "./spawn-failure.js";
import { type Place, spawnPlan, userIn } from "./spawn-plan.js";
import type { ProcessSpec } from "./spec.js";
import type { ChildStdio } from "./stdio.js";

/** What processes need of containers. */
export interface ContainerAccess {
  /** The container of that id; undefined when there is none. */
  get(id: string): Container | undefined;
  /** Its root, as its processes see it. CONTAINER_UNKNOWN. */
  rootOf(id: string): OpenRoot;
  /** Whose namespaces its init gets; undefined: all its own. */
  namespaces(container: Container): Promise<NamespaceChoice | undefined>;
  paused(container: Container): boolean;
  /** OOM kills in it until now. */
  oomKills(container: Container): number;
  oci: OciRuntime;
}

export interface ProcessStartsOptions {
  init: InitClient;
  containers: ContainerAccess;
  filters: SeccompFilters;
  /** Opens the cgroup of that name, for a process of the zone itself; with "" the zone's. CGROUP_UNKNOWN, CGROUP_BUSY. */
  openCgroup(path: string): number | undefined;
  /** The container's init, while it lives. */
  initOf(containerId: string): ZoneProcess | undefined;
  observer: { trouble(message: string): void };
  /** Milliseconds since 1970. */
  now(): number;
}

/** A process that has not been started: PID 1 is to spawn it, or crun makes it. */
export type Held = { kind: "spawn"; spec: ProcessSpec; child: ChildStdio } | { kind: "oci"; init: OciInit };

/** Processes that have not been started, and their starts. */
export class ProcessStarts {
  readonly #options: ProcessStartsOptions;
  readonly #held = new Map<ZoneProcess, Held>();

  constructor(options: ProcessStartsOptions) {
    this.#options = options;
  }

  hold(process: ZoneProcess, held: Held): void {
    this.#held.set(process, held);
  }

  /** It will not be started; with an `error` it is FAILED. Nothing happens to one that is not held. */
  giveUp(process: ZoneProcess, error?: Error): void {
    const held = this.#held.get(process);
    if (!held) return;
    this.#held.delete(process);
    if (error) this.#fail(process, held, error);
    else this.#discard(held);
  }

  /** What comes before a start when it is held: the init of an OCI bundle is made. On failure the process is FAILED. */
  async prepare(process: ZoneProcess): Promise<void> {
    const held = this.#held.get(process);
    if (held?.kind !== "oci") return;
    try {
      await this.#createOci(process, held.init);
    } catch (thrown) {
      this.#held.delete(process);
      throw this.#fail(process, held, thrown);
    }
  }

  /** Starts a CREATED process; settles when exec has succeeded. On failure it is FAILED, and the error says why. */
  async start(process: ZoneProcess): Promise<void> {
    process.starting();
    const held = this.#held.get(process);
    if (!held) throw new Error(`process "${process.id}" has no descriptors to start with`);
    this.#held.delete(process);
    try {
      if (held.kind === "oci") await this.#startOci(process, held.init);
      else await this.#spawn(process, held);
    } catch (thrown) {
      throw this.#fail(process, held, thrown);
    }
  }

  async #spawn(process: ZoneProcess, { spec, child }: Extract<Held, { kind: "spawn" }>): Promise<void> {
    const { init, now, filters, openCgroup } = this.#options;
    const container = spec.containerId === "" ? undefined : findContainer(this.#options.containers, spec.containerId);
    const place = container ? await this.#placeIn(container, process) : ({ kind: "zone" } as const);
    const user = userIn(place, spec);
    const plan = spawnPlan(spec, place, user, encodeMeta(process.meta), filters);
    const kept = process.kept((index) => init.dropKept(process.token, index));
    if (container) checkCgroup(container);
    const opened = container ? undefined : openCgroup(spec.cgroup);
    try {
      const stdio = child.take(user.uid);
      const { pid } = await init.spawn(process.token, plan, { stdio, kept, cgroup: opened ?? container?.cgroup });
      process.spawned(pid, now());
    } finally {
      if (opened !== undefined) closeSync(opened);
    }
  }

  async #createOci(process: ZoneProcess, oci: OciInit): Promise<number> {
    const { init, containers } = this.#options;
    this.#checkRuns(findContainer(containers, process.meta.containerId));
    return oci.create((pid) => {
      const kept = process.kept((index) => init.dropKept(process.token, index));
      return init.adopt(process.token, pid, { meta: encodeMeta(process.meta), kept });
    });
  }

  async #startOci(process: ZoneProcess, oci: OciInit): Promise<void> {
    const pid = await this.#createOci(process, oci);
    await oci.start();
    process.spawned(pid, this.#options.now());
  }

  /** After a restart: an init that crun has made is held by nobody but PID 1. */
  holdMade(process: ZoneProcess, pid: number): void {
    const container = this.#options.containers.get(process.meta.containerId);
    if (container)
      this.#held.set(process, { kind: "oci", init: OciInit.made(container, this.#options.containers.oci, pid) });
  }

  /** The process becomes FAILED; the error says why. */
  #fail(process: ZoneProcess, held: Held, thrown: unknown): Error {
    this.#discard(held);
    const error = startError(thrown, programName(process.argv));
    // What crun has made may have ended, and so be FAILED, before this.
    if (!process.ended) process.failed(toFailure(error));
    if (process.exitedEarly) this.#options.init.release(process.token);
    return error;
  }

  #discard(held: Held): void {
    if (held.kind === "spawn") held.child.close();
    else held.init.discard().catch((error) => this.#options.observer.trouble(`crun: ${error}`));
  }

  async #placeIn(container: Container, process: ZoneProcess): Promise<Place> {
    const { containers, initOf } = this.#options;
    if (process.meta.init) {
      const namespaces = await containers.namespaces(container);
      this.#checkRuns(container);
      return { kind: "init", container, namespaces };
    }
    const init = initOf(container.id);
    if (init?.state.name !== "running") {
      throw agentError(
        "FAILED_PRECONDITION",
        "CONTAINER_NOT_RUNNING",
        `container "${container.id}" has no running init`,
      );
    }
    this.#checkRuns(container);
    return { kind: "join", container, init: init.token };
  }

  /** CONTAINER_PAUSED: what is started in a frozen cgroup does not come to its exec. */
  #checkRuns(container: Container): void {
    if (!this.#options.containers.paused(container)) return;
    const message = `container "${container.id}" is paused: resume it first`;
    throw agentError("FAILED_PRECONDITION", "CONTAINER_PAUSED", message);
  }
}

/** Throws SPAWN_FAILED where a container has lost its cgroup: it would start without limits and device policy. */
function checkCgroup({ id, cgroupPath, cgroup }: Container): void {
  if (cgroupPath === undefined || cgroup !== undefined) return;
  throw agentError("INTERNAL", "SPAWN_FAILED", `container "${id}" has lost its cgroup: make it anew`, {
    metadata: { stage: "cgroup", errno: "ENOENT" },
  });
}

/** Throws CONTAINER_UNKNOWN. */
export function findContainer(containers: ContainerAccess, id: string): Container {
  const container = containers.get(id);
  if (container) return container;
  throw agentError("NOT_FOUND", "CONTAINER_UNKNOWN", `there is no container "${id}"`, {
    resource: { type: "container", name: id },
  });
}

/** argv[0] for a message: text, bounded. */
function programName(argv: readonly Uint8Array[]): string {
  return Buffer.from(argv[0] ?? [])
    .toString("utf8")
    .slice(0, 200);
}
