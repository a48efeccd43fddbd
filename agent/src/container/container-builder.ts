import { closeSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Setting } from "../cgroup/resources.js";
import { type BlockPaths, findBlockDevice } from "../mount/block-device.js";
import type { MountTable } from "../mount/mount-table.js";
import { removeCgroup } from "./cgroup.js";
import { type Container, placesOf, toContainer } from "./container.js";
import { attachDevices, type ContainerCgroups } from "./container-cgroups.js";
import { devicesFor, numberOf } from "./devices.js";
import type { ZonePart } from "./etc-files.js";
import type { ContainerSpec } from "./request.js";
import { buildRoot, destroyRoot, type RootPlan } from "./root.js";
import type { SharedNamespaces } from "./shared-namespaces.js";
import { type ContainerState, keptNow, newState, stateBytes, stateFiles, writeState } from "./state.js";
import { setNetworkSysctls } from "./sysctls.js";

export interface ContainerBuilderOptions extends BlockPaths {
  /** /run/zone/containers */
  directory: string;
  mounts: Pick<MountTable, "mountInto" | "unmountAll" | "openZoneSource">;
  /** Throws INVALID_SECCOMP when a profile cannot be compiled. */
  checkProfile(container: Container): void;
  /** What the zone adds to its containers' /etc/hosts and resolv.conf. */
  names?: ZonePart;
  /** Milliseconds since 1970. */
  now(): number;
}

/** Makes containers of what was asked for. */
export class ContainerBuilder {
  readonly #options: ContainerBuilderOptions & { cgroups: ContainerCgroups; shared: SharedNamespaces };

  constructor(options: ContainerBuilderOptions & { cgroups: ContainerCgroups; shared: SharedNamespaces }) {
    this.#options = options;
  }

  /** All of it or, when it fails, nothing. Given up when `signal` is aborted while it waits for a disk. */
  async build(spec: ContainerSpec, signal: AbortSignal | undefined): Promise<Container> {
    const settings = this.#options.cgroups.settings(spec.limits);
    const state = newState(spec, this.#options.now());
    try {
      await this.#options.shared.acquire(state, spec);
      const source = await this.#source(spec, signal);
      try {
        return await this.#build(spec, state, source, settings);
      } finally {
        if (source?.kind === "folder") closeSync(source.fd);
      }
    } catch (error) {
      this.#options.shared.release(state);
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
    state: ContainerState,
    source: RootPlan["source"],
    settings: readonly Setting[],
  ): Promise<Container> {
    const { id, kind } = spec;
    const { cgroups } = this.#options;
    const base = join(this.#options.directory, id);
    const own = kind.name === "own" ? kind.settings : undefined;
    const devices = own ? devicesFor(own, this.#options.dev) : [];
    const kept: ContainerState = { ...state, devices: own?.privileged ? [] : devices.map(numberOf) };
    const files = stateFiles(spec, kept);
    const cgroup = cgroups.path(id);
    // The folder first: by it a restarted agent knows whose a cgroup is.
    mkdirSync(base, { recursive: true });
    const undo: (() => unknown)[] = [() => destroyRoot(base)];
    try {
      if (cgroup !== undefined) {
        cgroups.make(id, settings);
        undo.push(() => removeCgroup(cgroup));
      }
      buildRoot(base, {
        ...{ spec, source, cgroup, devices, names: this.#options.names },
        sharedMemory: this.#options.shared.sharedMemory(kept, own?.shmBytes ?? 0),
        ownBytes: stateBytes(files),
      });
      const places = placesOf(base, cgroup, cgroups.open(id));
      undo.push(() => places.cgroup !== undefined && closeSync(places.cgroup));
      attachDevices(kept, places.cgroup);
      if (own) setNetworkSysctls(own.sysctls);
      const mounted = { id, rootfs: places.rootfs };
      if (spec.mounts.length > 0) undo.push(() => this.#options.mounts.unmountAll(mounted));
      for (const mount of spec.mounts) await this.#options.mounts.mountInto(mounted, mount);
      // Last: a folder without state.json is half made.
      writeState(base, files);
      const container = toContainer(keptNow(spec, kept), places);
      if (kept.seccomp === "profile") this.#options.checkProfile(container);
      return container;
    } catch (error) {
      for (const step of undo.reverse()) await step();
      throw error;
    }
  }
}
