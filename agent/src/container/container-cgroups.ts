import { closeSync, constants, existsSync, fstatSync, openSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { attachDevicePolicy } from "@zone/native";
import type { zone } from "@zone/proto";
import { blockSerials } from "../cgroup/block-serials.js";
import { applySettings, type Setting, settingsOf } from "../cgroup/resources.js";
import { agentError, errnoOf } from "../errors.js";
import { createCgroup } from "./cgroup.js";
import { remountCgroup } from "./cgroup-mount.js";
import type { Container } from "./container.js";
import { deviceRules } from "./devices.js";
import type { ContainerState } from "./state.js";

type Resources = zone.agent.v1.Resources.$Properties;

/** The cgroups that containers have, each with its limits and its device policy. */
export class ContainerCgroups {
  readonly #root: string | undefined;
  readonly #sysBlock: string;

  /** `root` is the zone's own cgroup; undefined where there is none: containers then have none either. */
  constructor(root: string | undefined, sysBlock: string) {
    this.#root = root;
    this.#sysBlock = sysBlock;
  }

  path(id: string): string | undefined {
    return this.#root === undefined ? undefined : join(this.#root, id);
  }

  /** INVALID_LIMIT */
  settings(limits: Resources): Setting[] {
    return settingsOf(limits, (serial) => this.#deviceNumber(serial));
  }

  /** CONTAINER_EXISTS for the name of somebody's cgroup. */
  make(id: string, settings: readonly Setting[]): void {
    const path = this.path(id);
    if (path === undefined) return;
    try {
      createCgroup(path, settings);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
      throw agentError("ALREADY_EXISTS", "CONTAINER_EXISTS", `there is a cgroup "${id}" that is no container's`, {
        resource: { type: "cgroup", name: id },
      });
    }
  }

  /** A descriptor of it. */
  open(id: string): number | undefined {
    const path = this.path(id);
    return path === undefined ? undefined : openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  }

  /** The same of a container that an earlier agent has made; it is made again when somebody has removed it. */
  reopen(state: ContainerState, rootfs: string): number | undefined {
    const { id, limits } = state;
    const path = this.path(id);
    if (path === undefined || existsSync(path)) return this.open(id);
    this.make(id, this.settings(limits ?? {}));
    const fd = this.open(id);
    try {
      attachDevices(state, fd);
      if (!state.oci) remountCgroup(rootfs, path);
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      rmdirSync(path);
      throw error;
    }
    return fd;
  }

  /**
   * Sees to the cgroup of a bundle's container after crun was there: it has removed it when it failed, and else set what the
   * bundle says, over which goes what the request has said. Whether it is another one now.
   */
  limit(container: Container): boolean {
    const { id, cgroupPath, limits } = container;
    if (cgroupPath === undefined) return false;
    const settings = this.settings(limits ?? {});
    if (existsSync(cgroupPath)) applySettings(cgroupPath, settings);
    else this.make(id, settings);
    if (container.cgroup !== undefined && isSame(container.cgroup, cgroupPath)) return false;
    const fd = this.open(id);
    if (container.cgroup !== undefined) closeSync(container.cgroup);
    container.cgroup = fd;
    return true;
  }

  #deviceNumber(wanted: string): string | undefined {
    for (const [number, serial] of blockSerials(this.#sysBlock)) if (serial === wanted) return number;
    return undefined;
  }
}

/** Lets a container's processes use no devices but those that are its. What a bundle's may, crun sees to. */
export function attachDevices(state: ContainerState, cgroup: number | undefined): void {
  if (state.oci || cgroup === undefined) return;
  const rules = deviceRules(state.devices, state.privileged);
  if (rules) attachDevicePolicy(cgroup, rules, false);
}

/** Whether a descriptor is of the folder that is at `path` now. */
function isSame(fd: number, path: string): boolean {
  return fstatSync(fd, { bigint: true }).ino === statSync(path, { bigint: true }).ino;
}
