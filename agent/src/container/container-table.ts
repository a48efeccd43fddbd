import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { attachDevicePolicy } from "@zone/native";
import { blockSerials } from "../cgroup/block-serials.js";
import { applySettings, type Setting, settingsOf } from "../cgroup/resources.js";
import { agentError, errnoOf } from "../errors.js";
import { LIMITS } from "../limits.js";
import { type BlockPaths, findBlockDevice } from "../mount/block-device.js";
import type { MountTable } from "../mount/mount-table.js";
import type { ZoneProcess } from "../process/process.js";
import { createCgroup, removeCgroup } from "./cgroup.js";
import { bundleOf, type Container, toContainer } from "./container.js";
import { unknownContainer } from "./container-errors.js";
import { deviceRules, devicesFor } from "./devices.js";
import type { ZonePart } from "./etc-files.js";
import type { NamespaceHolders } from "./holders.js";
import type { Crun } from "./oci/crun.js";
import { type OpenRoot, openRoot } from "./open-root.js";
import type { ContainerSpec } from "./request.js";
import { buildRoot, destroyRoot, type RootPlan } from "./root.js";
import { SharedNamespaces } from "./shared-namespaces.js";
import { keptNow, markStopped, newState, readState, stateBytes, stateFiles, writeState } from "./state.js";
import { setNetworkSysctls } from "./sysctls.js";

export interface ContainerTableOptions extends BlockPaths {
  /** /run/zone/containers */
  directory: string;
  /** /sys/fs/cgroup/zone; undefined where there is no cgroup2: containers then have no cgroup, and no limits. */
  cgroups: string | undefined;
  mounts: Pick<MountTable, "mountInto" | "unmountAll" | "openZoneSource">;
  holders: NamespaceHolders;
  crun: Crun;
  /** Throws INVALID_SECCOMP when a profile cannot be compiled. */
  checkProfile(container: Container): void;
  /** What the zone adds to its containers' /etc/hosts and resolv.conf. */
  names?: ZonePart;
  /** The container's init, while it lives. */
  initOf(id: string): ZoneProcess | undefined;
  /** Kills the container's init, and waits for its end. */
  killInit(id: string): Promise<void>;
  created(id: string): void;
  deleted(id: string): void;
  /** Its cgroup is another one now. */
  cgroupRenewed(id: string): void;
  /** Milliseconds since 1970. */
  now(): number;
}

/** The containers of the zone, in order of creation. */
export class ContainerTable {
  readonly #options: ContainerTableOptions;
  readonly #byId = new Map<string, Container>();
  /** Ids that are being created or deleted. */
  readonly #busy = new Set<string>();
  readonly #shared: SharedNamespaces;

  constructor(options: ContainerTableOptions) {
    this.#options = options;
    this.#shared = new SharedNamespaces({
      directory: options.directory,
      holders: options.holders,
      container: (id) => this.get(id),
      initOf: options.initOf,
    });
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
      const container = await this.#make(spec, signal);
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
      if (force) await this.#options.killInit(id);
      if (container.config) await this.#options.crun.delete(bundleOf(container));
      if (container.cgroup !== undefined) closeSync(container.cgroup);
      container.cgroup = undefined;
      if (container.cgroupPath !== undefined) await removeCgroup(container.cgroupPath);
      this.#options.mounts.unmountAll(container);
      destroyRoot(container.base);
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
    const { id, cgroupPath, limits } = container;
    if (cgroupPath === undefined || this.get(id) !== container) return;
    const settings = settingsOf(limits ?? {}, (serial) => this.#deviceNumber(serial));
    if (existsSync(cgroupPath)) {
      applySettings(cgroupPath, settings);
      return;
    }
    if (container.cgroup !== undefined) closeSync(container.cgroup);
    container.cgroup = undefined;
    createCgroup(cgroupPath, settings);
    container.cgroup = this.#openPlaces(id).cgroup;
    this.#options.cgroupRenewed(id);
  }

  /** Its init has been reaped. */
  initEnded(id: string): void {
    const container = this.#byId.get(id);
    if (!container || container.stopped) return;
    container.stopped = true;
    // Where the container is being deleted this has nobody to tell any more.
    if (existsSync(join(container.base, "state.json"))) markStopped(container.base);
  }

  /** Takes up the containers that an earlier agent made, and removes what it had half made. */
  async recover(): Promise<void> {
    const { directory } = this.#options;
    const found: Container[] = [];
    for (const id of existsSync(directory) ? readdirSync(directory) : []) {
      const base = join(directory, id);
      const kept = readState(base);
      if (kept) {
        found.push(toContainer(kept, this.#openPlaces(id)));
        continue;
      }
      const cgroup = this.#cgroupOf(id);
      if (cgroup !== undefined) await removeCgroup(cgroup);
      destroyRoot(base);
    }
    for (const container of found.sort((a, b) => a.createdAt - b.createdAt)) {
      this.#byId.set(container.id, container);
      this.#shared.recover(container);
    }
  }

  async #make(spec: ContainerSpec, signal: AbortSignal | undefined): Promise<Container> {
    const settings = settingsOf(spec.limits, (serial) => this.#deviceNumber(serial));
    const state = newState(spec, this.#options.now());
    try {
      await this.#shared.acquire(state, spec);
      const source = await this.#source(spec, signal);
      try {
        return await this.#build(spec, state, source, settings);
      } finally {
        if (source?.kind === "folder") closeSync(source.fd);
      }
    } catch (error) {
      this.#shared.release(state);
      throw error;
    }
  }

  async #source({ root: { source } }: ContainerSpec, signal: AbortSignal | undefined): Promise<RootPlan["source"]> {
    switch (source.kind) {
      case "disk": {
        const device = await findBlockDevice(source.serial, source.waitMs, this.#options, signal);
        return { kind: "disk", device, fsType: source.fsType };
      }
      case "mount":
        return { kind: "folder", fd: this.#options.mounts.openZoneSource(source.source), direct: source.direct };
      case "empty":
        return undefined;
    }
  }

  async #build(
    spec: ContainerSpec,
    state: ReturnType<typeof newState>,
    source: RootPlan["source"],
    settings: readonly Setting[],
  ): Promise<Container> {
    const { id, kind } = spec;
    const base = join(this.#options.directory, id);
    const own = kind.name === "own" ? kind.settings : undefined;
    const devices = own ? devicesFor(own, this.#options.dev) : [];
    const files = stateFiles(spec, state);
    const cgroup = this.#cgroupOf(id);
    // The folder first: by it a restarted agent knows whose a cgroup is.
    mkdirSync(base, { recursive: true });
    const undo: (() => unknown)[] = [() => destroyRoot(base)];
    try {
      if (cgroup !== undefined) {
        makeCgroup(id, cgroup, settings);
        undo.push(() => removeCgroup(cgroup));
      }
      buildRoot(base, {
        ...{ spec, source, cgroup, devices, names: this.#options.names },
        sharedMemory: this.#shared.sharedMemory(state, own?.shmBytes ?? 0),
        ownBytes: stateBytes(files),
      });
      const places = this.#openPlaces(id);
      undo.push(() => places.cgroup !== undefined && closeSync(places.cgroup));
      const rules = own ? deviceRules(devices, own.privileged) : undefined;
      if (rules && places.cgroup !== undefined) attachDevicePolicy(places.cgroup, rules, false);
      if (own) setNetworkSysctls(own.sysctls);
      const mounted = { id, rootfs: places.rootfs };
      if (spec.mounts.length > 0) undo.push(() => this.#options.mounts.unmountAll(mounted));
      for (const mount of spec.mounts) await this.#options.mounts.mountInto(mounted, mount);
      // Last: a folder without state.json is half made.
      writeState(base, files);
      const container = toContainer(keptNow(spec, state), places);
      if (state.seccomp === "profile") this.#options.checkProfile(container);
      return container;
    } catch (error) {
      for (const step of undo.reverse()) await step();
      throw error;
    }
  }

  #deviceNumber(wanted: string): string | undefined {
    for (const [number, serial] of blockSerials(this.#options.sysBlock)) if (serial === wanted) return number;
    return undefined;
  }

  #openPlaces(id: string): Pick<Container, "base" | "rootfs" | "cgroupPath" | "cgroup"> {
    const base = join(this.#options.directory, id);
    const cgroupPath = this.#cgroupOf(id);
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    const cgroup = cgroupPath === undefined ? undefined : openSync(cgroupPath, flags);
    return { base, rootfs: join(base, "rootfs"), cgroupPath, cgroup };
  }

  #cgroupOf(id: string): string | undefined {
    return this.#options.cgroups === undefined ? undefined : join(this.#options.cgroups, id);
  }
}

/** CONTAINER_EXISTS for the name of somebody's cgroup. */
function makeCgroup(id: string, path: string, settings: readonly Setting[]): void {
  try {
    createCgroup(path, settings);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    throw agentError("ALREADY_EXISTS", "CONTAINER_EXISTS", `there is a cgroup "${id}" that is no container's`, {
      resource: { type: "cgroup", name: id },
    });
  }
}
