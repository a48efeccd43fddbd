import { closeSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { agentError, describe } from "../errors.js";
import { LIMITS } from "../limits.js";
import type { ZoneProcess } from "../process/process.js";
import { killCgroup, removeCgroup, thawCgroup } from "./cgroup.js";
import { bundleOf, type Container, placesOf, toContainer } from "./container.js";
import { ContainerBuilder, type ContainerBuilderOptions } from "./container-builder.js";
import { ContainerCgroups } from "./container-cgroups.js";
import { unknownContainer } from "./container-errors.js";
import type { NamespaceHolders } from "./holders.js";
import type { Crun } from "./oci/crun.js";
import { type OpenRoot, openRoot } from "./open-root.js";
import type { ContainerSpec } from "./request.js";
import { destroyRoot } from "./root.js";
import { SharedNamespaces } from "./shared-namespaces.js";
import { type KeptContainer, markStopped, readState } from "./state.js";

export interface ContainerTableOptions extends ContainerBuilderOptions {
  /** /sys/fs/cgroup/zone; undefined where there is no cgroup2: containers then have no cgroup, and no limits. */
  cgroups: string | undefined;
  holders: NamespaceHolders;
  crun: Crun;
  /** The container's init, while it lives. */
  initOf(id: string): ZoneProcess | undefined;
  /** Kills the container's init, and waits for its end. */
  killInit(id: string): Promise<void>;
  created(id: string): void;
  deleted(id: string): void;
  /** Its cgroup is another one now. */
  cgroupRenewed(id: string): void;
  /** What went wrong that nobody waits for. */
  trouble(message: string): void;
}

/** The containers of the zone, in order of creation. */
export class ContainerTable {
  readonly #options: ContainerTableOptions;
  readonly #byId = new Map<string, Container>();
  /** Ids that are being created or deleted. */
  readonly #busy = new Set<string>();
  readonly #shared: SharedNamespaces;
  readonly #cgroups: ContainerCgroups;
  readonly #builder: ContainerBuilder;

  constructor(options: ContainerTableOptions) {
    this.#options = options;
    this.#shared = new SharedNamespaces({
      directory: options.directory,
      holders: options.holders,
      container: (id) => this.get(id),
      initOf: options.initOf,
    });
    this.#cgroups = new ContainerCgroups(options.cgroups, options.sysBlock);
    this.#builder = new ContainerBuilder({ ...options, cgroups: this.#cgroups, shared: this.#shared });
  }

  get all(): Iterable<Container> {
    return this.#byId.values();
  }

  /** Whose namespaces containers have. */
  get shared(): SharedNamespaces {
    return this.#shared;
  }

  /** Undefined also while it is being deleted: nothing may start in it any more. */
  get(id: string): Container | undefined {
    return this.#busy.has(id) ? undefined : this.#byId.get(id);
  }

  /** Throws CONTAINER_UNKNOWN. */
  find(id: string): Container {
    const container = this.get(id);
    if (!container) throw unknownContainer(id);
    return container;
  }

  /** The container's root, for who works with its files: see openRoot. CONTAINER_UNKNOWN. */
  rootOf(id: string): OpenRoot {
    const { rootfs } = this.find(id);
    const init = this.#options.initOf(id)?.state;
    return openRoot(rootfs, init?.name === "running" ? init.pid : undefined);
  }

  /** Makes a container; all of it or, when it fails, nothing. Given up when `signal` is aborted while it waits for a disk. */
  async create(spec: ContainerSpec, signal?: AbortSignal): Promise<Container> {
    const { id } = spec;
    if (this.#byId.has(id) || this.#busy.has(id)) {
      throw agentError("ALREADY_EXISTS", "CONTAINER_EXISTS", `there is a container "${id}" already`, {
        resource: { type: "container", name: id },
      });
    }
    if (this.#byId.size + this.#busy.size >= LIMITS.containers) {
      throw agentError(
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_CONTAINERS",
        `${LIMITS.containers} containers are kept: delete some`,
      );
    }
    this.#busy.add(id);
    try {
      const container = await this.#builder.build(spec, signal);
      this.#byId.set(id, container);
    } finally {
      this.#busy.delete(id);
    }
    this.#options.created(id);
    return this.find(id);
  }

  /**
   * Unmounts and forgets; CONTAINER_UNKNOWN, or CONTAINER_RUNNING while its init lives: with `force` it, and all that is in the
   * container, is killed first.
   */
  async delete(id: string, force = false): Promise<void> {
    const container = this.find(id);
    if (this.#options.initOf(id) && !force) {
      throw agentError(
        "FAILED_PRECONDITION",
        "CONTAINER_RUNNING",
        `container "${id}" has a running init: end it first`,
      );
    }
    this.#busy.add(id);
    try {
      if (force) await this.#end(container);
      if (container.config) await this.#options.crun.delete(bundleOf(container));
      if (container.cgroupPath !== undefined) await removeCgroup(container.cgroupPath);
      this.#options.mounts.unmountAll(container);
      destroyRoot(container.base);
      // Only now: without it a process would start in no cgroup at all, should any of this have failed.
      if (container.cgroup !== undefined) closeSync(container.cgroup);
      container.cgroup = undefined;
      this.#byId.delete(id);
      this.#shared.release(container);
    } finally {
      this.#busy.delete(id);
    }
    this.#options.deleted(id);
  }

  /**
   * Sees to the cgroup of a bundle's container after crun was there: it has removed it when it failed, and else set what the
   * bundle says, over which goes what the request has said.
   */
  limitBundle(container: Container): void {
    if (this.get(container.id) !== container) return;
    if (this.#cgroups.limit(container)) this.#options.cgroupRenewed(container.id);
  }

  /** Its init has been reaped. */
  initEnded(id: string): void {
    const container = this.#byId.get(id);
    if (!container || container.stopped) return;
    container.stopped = true;
    try {
      // Where the container is being deleted this has nobody to tell any more.
      if (existsSync(join(container.base, "state.json"))) markStopped(container.base);
    } catch (error) {
      this.#options.trouble(`it is not on record that container "${id}" has stopped: ${describe(error)}`);
    }
  }

  /**
   * Takes up the containers that an earlier agent made, and removes what it had half made, or what cannot be read. None of
   * them keeps the others from being taken up.
   */
  async recover(): Promise<void> {
    const { directory, trouble } = this.#options;
    const found: Container[] = [];
    for (const id of existsSync(directory) ? readdirSync(directory) : []) {
      try {
        const kept = this.#readState(id);
        if (kept) found.push(this.#takeUp(kept));
        else await this.#remove(id);
      } catch (error) {
        trouble(`container "${id}" is not taken up: ${describe(error)}`);
      }
    }
    for (const container of found.sort((a, b) => a.createdAt - b.createdAt)) {
      this.#byId.set(container.id, container);
      this.#shared.recover(container);
    }
  }

  #readState(id: string): KeptContainer | undefined {
    try {
      return readState(join(this.#options.directory, id));
    } catch (error) {
      this.#options.trouble(`container "${id}" is removed, for what is kept of it cannot be read: ${describe(error)}`);
      return undefined;
    }
  }

  /** Without a cgroup, where it had one, nothing starts in it; but it can be deleted. */
  #takeUp(kept: KeptContainer): Container {
    const { id } = kept.state;
    const base = join(this.#options.directory, id);
    let cgroup: number | undefined;
    try {
      cgroup = this.#cgroups.reopen(kept.state, join(base, "rootfs"));
    } catch (error) {
      this.#options.trouble(`container "${id}" has no cgroup any more: ${describe(error)}`);
    }
    return toContainer(kept, placesOf(base, this.#cgroups.path(id), cgroup));
  }

  async #remove(id: string): Promise<void> {
    const cgroup = this.#cgroups.path(id);
    if (cgroup !== undefined) await removeCgroup(cgroup);
    destroyRoot(join(this.#options.directory, id));
  }

  /** Ends all that is in it. First by its cgroup: what was started into a frozen one would not end otherwise. */
  async #end({ id, cgroupPath }: Container): Promise<void> {
    if (cgroupPath !== undefined) {
      killCgroup(cgroupPath);
      thawCgroup(cgroupPath);
    }
    await this.#options.killInit(id);
  }
}
