import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { agentError } from "../errors.js";
import { LIMITS } from "../limits.js";
import { type BlockPaths, findBlockDevice } from "../mount/block-device.js";
import type { ContainerPlace } from "../process/process-table.js";
import { writeAtomically } from "../system/identity.js";
import { createCgroup, removeCgroup } from "./cgroup.js";
import type { ZonePart } from "./etc-files.js";
import { type OpenRoot, openRoot } from "./open-root.js";
import type { ContainerSpec } from "./request.js";
import { buildRoot, destroyRoot } from "./root.js";

/** What is kept of a container; the file state.json in its folder is this. */
interface ContainerState {
  id: string;
  hostname: string;
  readOnly: boolean;
  /** Milliseconds since 1970. */
  createdAt: number;
}

export interface Container extends ContainerPlace, ContainerState {}

export interface ContainerTableOptions extends BlockPaths {
  /** /run/zone/containers */
  directory: string;
  /** /sys/fs/cgroup/zone; undefined where there is no cgroup2: containers then have no cgroup, and no limits. */
  cgroups: string | undefined;
  /** What the zone adds to its containers' /etc/hosts and resolv.conf. */
  names?: ZonePart;
  /** Whether the container's init lives. */
  running(id: string): boolean;
  /** The container's init, in the zone's pid namespace, while it runs. */
  initPid(id: string): number | undefined;
  created(id: string): void;
  deleted(id: string): void;
  /** Milliseconds since 1970. */
  now(): number;
}

/** The containers of the zone, in order of creation. */
export class ContainerTable {
  readonly #options: ContainerTableOptions;
  readonly #byId = new Map<string, Container>();
  /** Ids that are being created or deleted. */
  readonly #busy = new Set<string>();

  constructor(options: ContainerTableOptions) {
    this.#options = options;
  }

  get all(): Iterable<Container> {
    return this.#byId.values();
  }

  /** Undefined also while it is being deleted: nothing may start in it any more. */
  get(id: string): Container | undefined {
    return this.#busy.has(id) ? undefined : this.#byId.get(id);
  }

  /** The container's root, for who works with its files: see openRoot. CONTAINER_UNKNOWN. */
  rootOf(id: string): OpenRoot {
    const container = this.get(id);
    if (!container) throw unknownContainer(id);
    return openRoot(container.rootfs, this.#options.initPid(id));
  }

  /** Makes a container; all of it or, when it fails, nothing. */
  async create(spec: ContainerSpec): Promise<Container> {
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
      const device = await findBlockDevice(spec.blockSerial, spec.waitMs, this.#options);
      const container = await this.#build(spec, device);
      this.#byId.set(id, container);
      this.#options.created(id);
      return container;
    } finally {
      this.#busy.delete(id);
    }
  }

  /** Unmounts and forgets; CONTAINER_UNKNOWN, or CONTAINER_RUNNING while its init lives. */
  async delete(id: string): Promise<void> {
    const container = this.get(id);
    if (!container) throw unknownContainer(id);
    if (this.#options.running(id)) {
      throw agentError(
        "FAILED_PRECONDITION",
        "CONTAINER_RUNNING",
        `container "${id}" has a running init: end it first`,
      );
    }
    this.#busy.add(id);
    try {
      if (container.cgroup !== undefined) closeSync(container.cgroup);
      container.cgroup = undefined;
      const cgroup = this.#cgroupOf(id);
      if (cgroup !== undefined) await removeCgroup(cgroup);
      destroyRoot(this.#baseOf(id));
      this.#byId.delete(id);
    } finally {
      this.#busy.delete(id);
    }
    this.#options.deleted(id);
  }

  /** Takes up the containers that an earlier agent made, and removes what it had half made. */
  async recover(): Promise<void> {
    const { directory, cgroups } = this.#options;
    const states: ContainerState[] = [];
    for (const id of existsSync(directory) ? readdirSync(directory) : []) {
      const file = join(directory, id, "state.json");
      if (existsSync(file)) states.push(JSON.parse(readFileSync(file, "utf8")) as ContainerState);
      else destroyRoot(this.#baseOf(id));
    }
    for (const state of states.sort((a, b) => a.createdAt - b.createdAt)) this.#byId.set(state.id, this.#open(state));
    if (cgroups === undefined) return;
    for (const entry of readdirSync(cgroups, { withFileTypes: true })) {
      if (entry.isDirectory() && !this.#byId.has(entry.name)) await removeCgroup(join(cgroups, entry.name));
    }
  }

  async #build(spec: ContainerSpec, device: string): Promise<Container> {
    const { id, hostname, readOnly } = spec;
    const cgroup = this.#cgroupOf(id);
    const base = this.#baseOf(id);
    const state = { id, hostname, readOnly, createdAt: this.#options.now() };
    if (cgroup !== undefined) createCgroup(cgroup, spec.limits);
    try {
      buildRoot(base, device, spec, cgroup, this.#options.names);
    } catch (error) {
      if (cgroup !== undefined) await removeCgroup(cgroup);
      throw error;
    }
    // Last: a folder without it is half made.
    writeAtomically(join(base, "state.json"), JSON.stringify(state));
    return this.#open(state);
  }

  #open(state: ContainerState): Container {
    const path = this.#cgroupOf(state.id);
    const cgroup = path === undefined ? undefined : openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    return { ...state, rootfs: join(this.#baseOf(state.id), "rootfs"), cgroup };
  }

  #baseOf(id: string): string {
    return join(this.#options.directory, id);
  }

  #cgroupOf(id: string): string | undefined {
    return this.#options.cgroups === undefined ? undefined : join(this.#options.cgroups, id);
  }
}

function unknownContainer(id: string): Error {
  const name = id.slice(0, LIMITS.idLength);
  return agentError("NOT_FOUND", "CONTAINER_UNKNOWN", `there is no container "${name}"`, {
    resource: { type: "container", name },
  });
}
