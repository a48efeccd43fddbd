import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { zoneMemoryMax } from "@zone/native";
import type { zone } from "@zone/proto";
import { agentError, describe, errnoOf } from "../errors.js";
import { blockSerials } from "./block-serials.js";
import { readControl, readFlat } from "./control-file.js";
import { shareControllers } from "./controllers.js";
import { CGROUP_LIMITS } from "./limits.js";
import { cgroupFolder, checkCgroupPath } from "./path.js";
import { applySettings, readResources, settingsOf } from "./resources.js";
import { readStats } from "./stats.js";
import { whenCgroupIs } from "./watcher.js";

type Resources = zone.agent.v1.Resources.$Properties;

export interface CgroupTreeOptions {
  /** The zone's own cgroup; undefined where there is no cgroup2. */
  root: string | undefined;
  /** /sys/block */
  sysBlock: string;
  isContainer(id: string): boolean;
  /** What has been made or removed, for who watches. */
  made(path: string): void;
  removed(path: string): void;
  /** Milliseconds since 1970. */
  now(): number;
}

/** The cgroups of the zone, as they are in cgroupfs: nothing is kept of them here. */
export class CgroupTree {
  readonly #options: CgroupTreeOptions;

  constructor(options: CgroupTreeOptions) {
    this.#options = options;
  }

  /** Makes `path` with its parents; all of it or, when it fails, nothing. */
  create(path: string, resources: Resources): void {
    const root = this.#root();
    const settings = settingsOf(resources, this.#deviceNumber());
    if (this.paths().length >= CGROUP_LIMITS.cgroups) {
      throw agentError("RESOURCE_EXHAUSTED", "TOO_MANY_CGROUPS", `${CGROUP_LIMITS.cgroups} cgroups are there already`);
    }
    const made: string[] = [];
    try {
      const names = checkCgroupPath(path).split("/");
      for (let depth = 1; depth <= names.length; depth++) {
        const each = names.slice(0, depth).join("/");
        if (makeCgroup(join(root, each), each, depth === names.length)) made.push(each);
      }
      applySettings(join(root, path), settings);
    } catch (error) {
      for (const each of made.reverse()) rmdirSync(join(root, each));
      throw error;
    }
    for (const each of made) this.#options.made(each);
  }

  /** Changes what is present, and answers with all that is set then. */
  update(path: string, resources: Resources): Resources {
    const folder = this.#folder(path);
    const serials = blockSerials(this.#options.sysBlock);
    applySettings(folder, settingsOf(resources, this.#deviceNumber()));
    return readResources(folder, serials);
  }

  list(): zone.agent.v1.CgroupInfo.$Properties[] {
    const root = this.#root();
    const serials = blockSerials(this.#options.sysBlock);
    return this.paths().map((path) => {
      const events = readFlat(join(root, path), "cgroup.events");
      const [top = ""] = path.split("/");
      return {
        path,
        containerId: this.#options.isContainer(top) && top === path ? path : undefined,
        populated: events.get("populated") === 1,
        frozen: events.get("frozen") === 1,
        resources: readResources(join(root, path), serials),
      };
    });
  }

  /** All below the zone's own, parents first. */
  paths(): string[] {
    const { root } = this.#options;
    if (root === undefined) return [];
    const paths: string[] = [];
    const walk = (path: string) => {
      if (paths.length > 2 * CGROUP_LIMITS.cgroups || path.split("/").length > CGROUP_LIMITS.depth) return;
      for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
        // A leaf of the agent's (process/zone-cgroups.ts) begins with a dot: no client's can.
        if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
        const child = path === "" ? entry.name : `${path}/${entry.name}`;
        paths.push(child);
        walk(child);
      }
    };
    walk("");
    return paths;
  }

  stats(path: string): zone.agent.v1.CgroupStats.$Properties {
    const folder = path === "" ? this.#root() : this.#folder(path);
    return readStats(folder, path, blockSerials(this.#options.sysBlock), this.#options.now());
  }

  /** Answers when it is so; a cancelled freeze is undone. */
  async setFrozen(path: string, frozen: boolean, signal: AbortSignal): Promise<void> {
    const folder = this.#folder(path);
    write(folder, "cgroup.freeze", frozen ? "1" : "0");
    try {
      await whenCgroupIs(folder, "frozen", frozen, signal);
    } catch (error) {
      if (frozen && readControl(folder, "cgroup.freeze") !== undefined) write(folder, "cgroup.freeze", "0");
      throw error;
    }
  }

  kill(path: string): void {
    write(this.#folder(path), "cgroup.kill", "1");
  }

  /** CGROUP_OWNED, CGROUP_BUSY. */
  delete(path: string): void {
    const folder = this.#folder(path);
    if (this.#options.isContainer(path)) {
      throw agentError("FAILED_PRECONDITION", "CGROUP_OWNED", `"${path}" is a container's: delete the container`);
    }
    try {
      rmdirSync(folder);
    } catch (error) {
      if (errnoOf(error) !== "EBUSY") throw failed(path, "", error);
      const populated = readFlat(folder, "cgroup.events").get("populated") === 1;
      throw busy(path, populated ? "it has processes: kill them first" : "it has cgroups in it: delete them first");
    }
    this.#options.removed(path);
  }

  /** The zone has more or less memory than at boot: all but the agent's share of it is for what runs here, as PID 1 has begun. */
  resize(totalBytes: number): void {
    const { root } = this.#options;
    if (root !== undefined) write(root, "memory.max", String(zoneMemoryMax(totalBytes)));
  }

  /** Throws CGROUP_UNKNOWN, or INVALID_CGROUP. */
  check(path: string): void {
    this.#folder(path);
  }

  /** Throws CGROUP_UNKNOWN unless it is there. */
  #folder(path: string): string {
    const folder = cgroupFolder(this.#root(), checkCgroupPath(path));
    if (readControl(folder, "cgroup.events") !== undefined) return folder;
    throw agentError("NOT_FOUND", "CGROUP_UNKNOWN", `there is no cgroup "${path}"`, {
      resource: { type: "cgroup", name: path },
    });
  }

  #root(): string {
    const { root } = this.#options;
    if (root !== undefined) return root;
    throw agentError("FAILED_PRECONDITION", "CONTROLLER_MISSING", "there is no cgroup2 file system here");
  }

  #deviceNumber(): (serial: string) => string | undefined {
    let serials: Map<string, string> | undefined;
    return (serial) => {
      serials ??= new Map([...blockSerials(this.#options.sysBlock)].map(([number, name]) => [name, number]));
      return serials.get(serial);
    };
  }
}

/** Makes one cgroup, whose parent hands on all of its controllers. False when it was there, which for the last one is an error. */
function makeCgroup(folder: string, path: string, last: boolean): boolean {
  try {
    shareControllers(dirname(folder));
  } catch (error) {
    if (errnoOf(error) === "EBUSY") throw busy(path, "its parent has processes of its own");
    throw failed(path, "cgroup.subtree_control", error);
  }
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw failed(path, "", error);
    if (!last) return false;
    throw agentError("ALREADY_EXISTS", "CGROUP_EXISTS", `there is a cgroup "${path}" already`, {
      resource: { type: "cgroup", name: path },
    });
  }
}

function write(folder: string, file: string, value: string): void {
  try {
    writeFileSync(join(folder, file), value, { flag: "r+" });
  } catch (error) {
    throw failed(folder, file, error);
  }
}

function busy(path: string, why: string): Error {
  return agentError("FAILED_PRECONDITION", "CGROUP_BUSY", `cgroup "${path}" is busy: ${why}`, {
    resource: { type: "cgroup", name: path },
  });
}

function failed(path: string, file: string, error: unknown): Error {
  return agentError("INTERNAL", "CGROUP_FAILED", `cgroup "${path}": ${describe(error)}`, {
    metadata: { file, errno: errnoOf(error) ?? "" },
    cause: error,
  });
}
