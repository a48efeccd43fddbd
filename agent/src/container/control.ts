import { readdirSync, readFileSync, statfsSync } from "node:fs";
import { join } from "node:path";
import type { zone } from "@zone/proto";
import type { CgroupTree } from "../cgroup/cgroup-tree.js";
import { readControl, readFlat } from "../cgroup/control-file.js";
import { agentError, errnoOf, invalid } from "../errors.js";
import type { ZoneProcess } from "../process/process.js";
import { killCgroup } from "./cgroup.js";
import type { Container } from "./container.js";
import { CONTAINER_LIMITS } from "./limits.js";

export interface ContainerControlOptions {
  cgroups: CgroupTree;
  /** Throws CONTAINER_UNKNOWN. */
  container(id: string): Container;
  /** The container's init, while it lives. */
  initOf(id: string): ZoneProcess | undefined;
  signalInit(init: ZoneProcess, signal: number): Promise<void>;
  paused(id: string): void;
  resumed(id: string): void;
  updated(id: string): void;
}

const SIGKILL = 9;

/** What is done to a container as a whole, while it is there. */
export class ContainerControl {
  readonly #options: ContainerControlOptions;

  constructor(options: ContainerControlOptions) {
    this.#options = options;
  }

  /** Answers when all in it is frozen. CONTAINER_NOT_RUNNING, CONTAINER_PAUSED. */
  async pause(id: string, signal: AbortSignal): Promise<void> {
    const container = this.#running(id);
    if (isPaused(container)) {
      throw agentError("FAILED_PRECONDITION", "CONTAINER_PAUSED", `container "${id}" is paused already`);
    }
    await this.#options.cgroups.setFrozen(
      id,
      true,
      AbortSignal.any([signal, AbortSignal.timeout(CONTAINER_LIMITS.freezeMs)]),
    );
    this.#options.paused(id);
  }

  /** Answers when all in it runs again. CONTAINER_NOT_PAUSED. */
  async resume(id: string, signal: AbortSignal): Promise<void> {
    if (!isPaused(this.#options.container(id))) {
      throw agentError("FAILED_PRECONDITION", "CONTAINER_NOT_PAUSED", `container "${id}" is not paused`);
    }
    await this.#options.cgroups.setFrozen(id, false, signal);
    this.#options.resumed(id);
  }

  /** Sets what is present in `limits`, and answers with all that is set then. */
  update(id: string, limits: zone.agent.v1.Resources.$Properties): zone.agent.v1.Resources.$Properties {
    this.#options.container(id);
    const resources = this.#options.cgroups.update(id, limits);
    this.#options.updated(id);
    return resources;
  }

  stats(id: string): zone.agent.v1.ContainerStats.$Properties {
    const { base, layered } = this.#options.container(id);
    const cgroup = this.#options.cgroups.stats(id);
    if (!layered) return { cgroup };
    const { bsize, blocks, bfree } = statfsSync(base);
    return { cgroup, writableUsedBytes: (blocks - bfree) * bsize, writableTotalBytes: blocks * bsize };
  }

  /** A signal (0 is SIGKILL) to its init, or to all that is in it. CONTAINER_NOT_RUNNING, INVALID_SIGNAL. */
  async kill(id: string, signal: number, all: boolean): Promise<void> {
    if (signal > 64) throw invalid("INVALID_SIGNAL", `${signal} is not a signal: 1 to 64`);
    const container = this.#running(id);
    const number = signal || SIGKILL;
    if (all && container.cgroupPath !== undefined) {
      await this.#killAll(id, container.cgroupPath, number, isPaused(container));
      return;
    }
    const init = this.#options.initOf(id);
    if (init) await this.#options.signalInit(init, number);
  }

  /**
   * To every process: while they are frozen, so that none can fork unseen, nor end and leave its pid to another. What is
   * pending is delivered when they run again.
   */
  async #killAll(id: string, path: string, signal: number, paused: boolean): Promise<void> {
    if (signal === SIGKILL) {
      killCgroup(path);
      return;
    }
    const { cgroups } = this.#options;
    const limit = AbortSignal.timeout(CONTAINER_LIMITS.freezeMs);
    if (!paused) await cgroups.setFrozen(id, true, limit);
    try {
      for (const pid of pidsIn(path)) {
        try {
          process.kill(pid, signal);
        } catch (error) {
          if (errnoOf(error) !== "ESRCH") throw error; // a zombie that is reaped
        }
      }
    } finally {
      if (!paused) await cgroups.setFrozen(id, false, limit);
    }
  }

  /** CONTAINER_NOT_RUNNING */
  #running(id: string): Container {
    const container = this.#options.container(id);
    if (this.#options.initOf(id)?.state.name === "running") return container;
    throw agentError("FAILED_PRECONDITION", "CONTAINER_NOT_RUNNING", `container "${id}" has no running init`, {
      resource: { type: "container", name: id },
    });
  }
}

/** Whether its processes are, or are about to be, frozen. */
export function isPaused({ cgroupPath }: Pick<Container, "cgroupPath">): boolean {
  return cgroupPath !== undefined && readControl(cgroupPath, "cgroup.freeze") === "1";
}

/** OOM kills in it since it was made. */
export function countOomKills({ cgroupPath }: Pick<Container, "cgroupPath">): number {
  return cgroupPath === undefined ? 0 : (readFlat(cgroupPath, "memory.events").get("oom_kill") ?? 0);
}

/** The processes of a cgroup and of those below. */
function pidsIn(path: string): number[] {
  const own = readFileSync(join(path, "cgroup.procs"), "latin1").split("\n").map(Number).filter(Boolean);
  const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...own, ...below.flatMap(({ name }) => pidsIn(join(path, name)))];
}
