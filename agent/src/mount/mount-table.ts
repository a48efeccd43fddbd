import type { CheckedMount } from "./check-mount.js";

/** A container as its mounts see it. */
export interface MountedContainer {
  id: string;
  /** Its folder, /run/zone/containers/ID. */
  base: string;
  /** BASE/rootfs: its root as the zone sees it, a shared mount; the container's own view is a slave of it. */
  rootfs: string;
}

/** What the mount table needs of the agent. */
export interface MountTableOptions {
  /** /run/zone: `mounts` in it holds the mounts without container. */
  runDir: string;
  sysBlock: string;
  dev: string;
  /** Undefined: there is none of that id. */
  container(id: string): MountedContainer | undefined;
  /** The pid of a container's init while it runs. */
  initPid(containerId: string): number | undefined;
}

/** The mounts of the zone and its containers that were made by request. */
export class MountTable {
  readonly #options: MountTableOptions;

  constructor(options: MountTableOptions) {
    this.#options = options;
  }

  /**
   * Mounts in a container: at its making, before anything runs in it, or while it runs. The reasons of mount.proto; leaves
   * nothing when it fails.
   */
  async mountInto(container: MountedContainer, mount: CheckedMount): Promise<void> {
    throw new Error(`not yet: ${container.id} ${mount.target} ${this.#options.runDir}`);
  }

  /** Unmounts all that was mounted into a container, the last first, and forgets it; its init must have ended. */
  async unmountAll(containerId: string): Promise<void> {
    throw new Error(`not yet: ${containerId}`);
  }

  /**
   * An O_PATH descriptor of a "zone:NAME[/PATH]", which the caller closes; nothing in that mount leads out of it.
   * INVALID_MOUNT, SOURCE_NOT_FOUND. To mount it: openTree("", {...}, fd), or the path /proc/self/fd/FD.
   */
  openZoneSource(source: string): number {
    throw new Error(`not yet: ${source}`);
  }
}
