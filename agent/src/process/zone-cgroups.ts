import { constants, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { readControl } from "../cgroup/control-file.js";
import { checkCgroupPath } from "../cgroup/path.js";
import { agentError, errnoOf } from "../errors.js";

/**
 * Where processes of the zone itself are that ask for no cgroup: a leaf, because a cgroup that hands controllers on cannot have
 * processes of its own (cgroup-v2.rst, "No Internal Process Constraint"). No cgroup of a client's can have such a name.
 */
export const ZONE_LEAF = ".zone";

/** The cgroups that processes of the zone itself start in. */
export class ZoneCgroups {
  readonly #root: string | undefined;
  #made = false;

  /** `root` is the zone's own cgroup; undefined where there is none. */
  constructor(root: string | undefined) {
    this.#root = root;
  }

  /**
   * A descriptor of the cgroup of that name, with "" of the zone's; the caller closes it. INVALID_CGROUP, CGROUP_UNKNOWN,
   * CGROUP_BUSY when it is frozen: what is started there does not come to its exec.
   */
  open(path: string): number | undefined {
    const name = path === "" ? ZONE_LEAF : checkCgroupPath(path);
    if (this.#root === undefined) {
      if (path === "") return undefined;
      throw unknown(path);
    }
    if (path === "" && !this.#made) mkdirSync(join(this.#root, ZONE_LEAF), { recursive: true });
    this.#made ||= path === "";
    if (isFrozen(this.#root, name)) throw frozen(path);
    try {
      return openSync(join(this.#root, name), constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") throw unknown(path);
      throw error;
    }
  }
}

/** Whether it, or one that it is in, is or is about to be frozen. */
function isFrozen(root: string, name: string): boolean {
  const names = name.split("/");
  return names.some((_, depth) => readControl(join(root, ...names.slice(0, depth + 1)), "cgroup.freeze") === "1");
}

function frozen(path: string): Error {
  return agentError("FAILED_PRECONDITION", "CGROUP_BUSY", `cgroup "${path}" is frozen: thaw it first`, {
    resource: { type: "cgroup", name: path },
  });
}

function unknown(path: string): Error {
  return agentError("NOT_FOUND", "CGROUP_UNKNOWN", `there is no cgroup "${path}"`, {
    resource: { type: "cgroup", name: path },
  });
}
