import { release } from "node:os";
import { join } from "node:path";
import { closeFd, type InitClient } from "@zone/native";
import type { Logger } from "pino";
import type { CgroupTree } from "./cgroup/cgroup-tree.js";
import { killCgroup } from "./container/cgroup.js";
import { bundleOf, type Container } from "./container/container.js";
import { ContainerTable, type ContainerTableOptions } from "./container/container-table.js";
import { ContainerControl, countOomKills, isPaused } from "./container/control.js";
import { type HolderPrograms, NamespaceHolders } from "./container/holders.js";
import { Crun, type CrunPaths } from "./container/oci/crun.js";
import { DEFAULT_PROFILE } from "./container/seccomp/default-profile.js";
import { SeccompFilters } from "./container/seccomp/filter.js";
import { describe } from "./errors.js";
import { DEFAULT_CAPABILITIES } from "./process/capabilities.js";
import { OffsetFile } from "./process/offset-file.js";
import type { ZoneProcess } from "./process/process.js";
import { ProcessTable } from "./process/process-table.js";
import { tokenGenerations } from "./process/recovery.js";
import { Tools } from "./process/tools.js";
import { ZoneCgroups } from "./process/zone-cgroups.js";
import type { EventHub } from "./system/event-hub.js";
import type { ZoneEvent } from "./system/zone-event.js";

export interface WorkloadOptions {
  init: InitClient;
  log: Logger;
  events: EventHub<ZoneEvent>;
  /** /run/zone */
  runDir: string;
  cgroups: CgroupTree;
  containers: Pick<ContainerTableOptions, "directory" | "cgroups" | "sysBlock" | "dev" | "names" | "mounts">;
  programs: HolderPrograms & { crun: string };
  /** A container's cgroup was made, and will be removed. */
  watchCgroup(id: string): void;
  forgetCgroup(id: string): void;
  /** A process has ended. */
  processEnded(): void;
}

/** What runs in the zone: its containers and processes, which need each other. */
export class Workload {
  readonly processes: ProcessTable;
  readonly containers: ContainerTable;
  readonly control: ContainerControl;
  readonly #options: WorkloadOptions;
  readonly #filters = new SeccompFilters({ architecture: process.arch, kernelRelease: release() });

  /** Call `recover` before anything else. */
  constructor(options: WorkloadOptions) {
    const { init, log, programs, runDir, events, cgroups } = options;
    this.#options = options;
    const nextToken = tokenGenerations(init.restarts);
    const zoneCgroups = new ZoneCgroups(options.containers.cgroups);
    const tools = new Tools(init, nextToken, () => zoneCgroups.open(""));
    const crunPaths: CrunPaths = { program: programs.crun, root: join(runDir, "crun") };
    const crun = new Crun(tools, crunPaths);
    const initOf = (id: string) => this.processes.initOf(id);
    const trouble = (message: string) => log.warn(message);
    this.containers = new ContainerTable({
      ...options.containers,
      ...{ crun, initOf, trouble },
      holders: new NamespaceHolders(tools, programs),
      checkProfile: ({ profile }) => void (profile && this.#filters.get(profile, DEFAULT_CAPABILITIES)),
      killInit: (id) => this.processes.killInit(id),
      created: (id) => {
        log.info({ container: id }, "container created");
        options.watchCgroup(id);
        events.publish({ containerCreated: { id } });
      },
      deleted: (id) => {
        log.info({ container: id }, "container deleted");
        options.forgetCgroup(id);
        events.publish({ containerDeleted: { id } });
      },
      cgroupRenewed: (id) => {
        options.forgetCgroup(id);
        options.watchCgroup(id);
      },
      now: Date.now,
    });
    this.processes = new ProcessTable({
      ...{ init, nextToken, tools },
      offsets: new OffsetFile(join(runDir, "stdio-offsets")),
      containers: {
        get: (id) => this.containers.get(id),
        rootOf: (id) => this.containers.rootOf(id),
        namespaces: (container) => this.containers.shared.choice(container),
        paused: isPaused,
        oomKills: countOomKills,
        oci: {
          create: async (container, stdio) => {
            const created = await crun.create(bundleOf(container), stdio).catch((error) => {
              this.#limitAfterFailure(container);
              throw error;
            });
            try {
              this.containers.limitBundle(container);
            } catch (error) {
              if (created.master !== undefined) closeFd(created.master);
              throw error;
            }
            return created;
          },
          start: (container) => crun.start(bundleOf(container)),
          discard: (container) =>
            crun.delete(bundleOf(container)).finally(() => this.containers.limitBundle(container)),
          waiting: ({ id }) => crun.waiting(id),
        },
      },
      filters: this.#filters,
      openCgroup: (path) => zoneCgroups.open(path),
      observer: {
        started: ({ meta: { id, containerId } }, pid) => {
          log.info({ process: id, container: containerId, pid }, "process started");
          events.publish({ processStarted: { id, containerId, pid } });
        },
        reaped: (process) => this.#reaped(process),
        ended: (process) => this.#ended(process),
        trouble,
      },
      now: Date.now,
    });
    this.control = new ContainerControl({
      ...{ cgroups, initOf },
      container: (id) => this.containers.find(id),
      signalInit: (process, signal) => this.processes.signal(process, signal, false),
      paused: (id) => events.publish({ containerPaused: { id } }),
      resumed: (id) => events.publish({ containerResumed: { id } }),
      updated: (id) => events.publish({ containerUpdated: { id } }),
    });
  }

  /** Compiles what the first container of a clone would have to. */
  warmUp(): void {
    this.#filters.get(DEFAULT_PROFILE, DEFAULT_CAPABILITIES);
  }

  /** Tells of OOM kills in a container, as its cgroup counts them. */
  outOfMemory(container: Container, count: number): void {
    container.oomKills = Math.max(container.oomKills + count, countOomKills(container));
  }

  /** Who waits is told why crun has failed, not what came of it. */
  #limitAfterFailure(container: Container): void {
    try {
      this.containers.limitBundle(container);
    } catch (error) {
      this.#options.log.warn({ container: container.id, error: describe(error) }, "no cgroup after crun has failed");
    }
  }

  #reaped({ meta }: ZoneProcess): void {
    if (!meta.init) return;
    const container = this.containers.get(meta.containerId);
    this.containers.initEnded(meta.containerId);
    // With a pid namespace of its own the kernel has ended all that was in it.
    if (!container || container.namespaces.pid === "private" || container.cgroupPath === undefined) return;
    try {
      killCgroup(container.cgroupPath);
    } catch (error) {
      const left = { container: container.id, error: describe(error) };
      this.#options.log.warn(left, "what the container's init has left is not killed");
    }
  }

  #ended({ meta: { id, containerId }, state }: ZoneProcess): void {
    const { log, events } = this.#options;
    if (state.name === "failed") {
      log.info({ process: id, container: containerId, reason: state.failure.reason }, "process not started");
      return;
    }
    if (state.name !== "exited") return;
    this.#options.processEnded();
    const { code, signal } = state.exit;
    log.info({ process: id, container: containerId, code, signal }, "process ended");
    events.publish({ processEnded: { id, containerId, code, signal } });
  }
}
