import { constants, existsSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { openInRoot } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { agentError, errnoOf } from "../errors.js";
import { attach } from "./attach.js";
import { type CheckedMount, checkPlace, type Place } from "./check-mount.js";
import { makeDetached } from "./detached.js";
import type { MountedFile } from "./file-contents.js";
import { FileVolumes } from "./file-volume.js";
import { MOUNT_LIMITS } from "./limits.js";
import { mountExists, mountFailed, mountUnknown, sourceNotFound } from "./mount-errors.js";
import { type MountRecord, MountRecords } from "./mount-records.js";
import { findMounted, latin1, type MountRoot, mountAt, removeMountPoint, unmountTree } from "./mounted.js";
import { type MountInfo, readMountInfo } from "./mountinfo.js";

/** A container as its mounts see it. */
export interface MountedContainer {
  id: string;
  /** Its root as the zone sees it, a shared mount; the container's own view is a slave of it. */
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

/** A mount that was found: its record, what the kernel says of it, and where it is. */
export interface FoundMount {
  record: MountRecord;
  info: MountInfo;
  root: MountRoot;
}

/** The mounts of the zone and its containers that were made by request. */
export class MountTable {
  readonly #options: MountTableOptions;
  readonly #zone: MountRoot;
  readonly #stage: string;
  readonly #volumes: FileVolumes;
  /** For what takes care of mounts (upkeep.ts). */
  readonly records: MountRecords;
  /** Targets that are being mounted on. */
  readonly #busy = new Set<string>();

  constructor(options: MountTableOptions) {
    this.#options = options;
    this.#zone = { containerId: "", path: join(options.runDir, "mounts") };
    this.#stage = join(options.runDir, "mount-stage");
    this.#volumes = new FileVolumes(join(options.runDir, "mount-files"));
    this.records = new MountRecords(join(options.runDir, "mounts.json"));
  }

  /** Takes up the mounts of an earlier agent, and removes what it had half made. After the containers' own recovery. */
  recover(): void {
    const infos = readMountInfo("self");
    this.records.load(({ id, containerId }) => {
      const root = this.#rootOf(containerId);
      return root !== undefined && findMounted(infos, id, root) !== undefined;
    });
    this.#volumes.keepOnly(new Set(this.records.all.flatMap(({ volume }) => volume?.name ?? [])));
    const names = new Set(this.records.of("").map(({ target }) => target));
    for (const folder of [this.#zone.path, this.#stage]) {
      for (const name of existsSync(folder) ? readdirSync(folder) : []) {
        if (folder !== this.#zone.path || !names.has(name)) removeMountPoint(folder, name);
      }
    }
  }

  /**
   * Mounts in a container: at its making, before anything runs in it, or while it runs. The reasons of mount.proto; leaves
   * nothing when it fails. Rejects when `signal` is aborted while it waits for a disk.
   */
  async mountInto(container: MountedContainer, mount: CheckedMount, signal?: AbortSignal): Promise<void> {
    await this.#mount({ containerId: container.id, path: container.rootfs }, mount, signal);
  }

  /** Mounts without container: `mount.target` is a name. */
  async mountZone(mount: CheckedMount, signal?: AbortSignal): Promise<void> {
    mkdirSync(this.#zone.path, { recursive: true });
    await this.#mount(this.#zone, mount, signal);
  }

  /** Where the mounts of a container are; of the zone with "". CONTAINER_UNKNOWN. */
  root(containerId: string): MountRoot {
    const root = this.#rootOf(containerId);
    if (root) return root;
    throw agentError("NOT_FOUND", "CONTAINER_UNKNOWN", `there is no container "${containerId}"`, {
      resource: { type: "container", name: containerId },
    });
  }

  /** One mount, by the name that it was given, or by where that leads now. MOUNT_UNKNOWN, CONTAINER_UNKNOWN. */
  find(containerId: string, target: string): FoundMount {
    const root = this.root(containerId);
    const infos = readMountInfo("self");
    const named = this.records.named(containerId, target);
    const record = named ?? this.records.get(mountAt(root, target, infos) ?? -1);
    const info = record && findMounted(infos, record.id, root);
    if (record && info) return { record, info, root };
    if (record) this.#forget(record); // its mount point has been removed, from another container
    throw mountUnknown(containerId, target);
  }

  /** MOUNT_BUSY, MOUNT_UNKNOWN, CONTAINER_UNKNOWN. */
  unmount(containerId: string, target: string, how: { lazy: boolean; recursive: boolean }): void {
    const { info, root, record } = this.find(containerId, target);
    if (this.#isFrozen(info)) {
      throw agentError("FAILED_PRECONDITION", "MOUNT_BUSY", `${target} is frozen: thaw it first`, {
        resource: { type: "mount", name: target },
      });
    }
    try {
      unmountTree(root, info, readMountInfo("self"), how);
    } finally {
      this.#forgetGone(root);
    }
    if (containerId === "") removeMountPoint(root.path, record.target);
  }

  /**
   * Unmounts all that was mounted into a container, the last first, and forgets it: for a container that is to be removed, whose
   * init has ended. What is still in use is unmounted lazily. Works on one whose root is gone as well.
   */
  unmountAll(container: MountedContainer): void {
    const root = { containerId: container.id, path: container.rootfs };
    for (const record of this.records.of(container.id).reverse()) {
      const infos = readMountInfo("self");
      const info = findMounted(infos, record.id, root);
      try {
        if (info) unmountTree(root, info, infos, { lazy: false, recursive: true });
      } catch {
        if (info) unmountTree(root, info, infos, { lazy: true, recursive: false });
      }
      this.#forget(record);
    }
  }

  /** Replaces the files of a "files" mount. INVALID_MOUNT for one of another type, FS_UNSUPPORTED for one that is itself a file. */
  updateFiles(containerId: string, target: string, files: readonly MountedFile[]): void {
    const { record } = this.find(containerId, target);
    const resource = { type: "mount", name: target };
    if (!record.volume) {
      throw agentError("INVALID_ARGUMENT", "INVALID_MOUNT", `${target} is of type ${record.type}, not files`, {
        resource,
      });
    }
    if (record.volume.single || files.some(({ path }) => path.length === 0)) {
      const message = `${target}: a mount that is itself a file cannot be replaced, nor become one; mount a folder`;
      throw agentError("FAILED_PRECONDITION", "FS_UNSUPPORTED", message, { resource });
    }
    try {
      this.#volumes.update(record.volume.name, files);
    } catch (error) {
      throw agentError("INTERNAL", "MOUNT_FAILED", `cannot replace the files of ${target}: ${String(error)}`, {
        ...{ resource, cause: error },
        metadata: { source: record.type, target, errno: errnoOf(error) ?? "" },
      });
    }
  }

  /**
   * An O_PATH descriptor of a "zone:NAME[/PATH]", which the caller closes; nothing in that mount leads out of it.
   * INVALID_MOUNT, SOURCE_NOT_FOUND. To mount it: openTree("", {...}, fd), or the path /proc/self/fd/FD.
   */
  openZoneSource(source: string): number {
    return this.#openPlace(checkPlace(source, "zone"), this.#zone);
  }

  /** The mounts as a container sees them, or the zone, in mountinfo's order. CONTAINER_UNKNOWN. */
  list(containerId: string): MountInfo[] {
    if (containerId === "") return readMountInfo("self");
    const root = this.root(containerId);
    const pid = this.#options.initPid(containerId);
    try {
      if (pid !== undefined) return readMountInfo(pid);
    } catch (error) {
      if (!["ENOENT", "ESRCH"].includes(errnoOf(error) ?? "")) throw error; // it has ended
    }
    const path = latin1(root.path);
    return readMountInfo("self")
      .filter(({ target }) => target === path || target.startsWith(`${path}/`))
      .map((info) => ({ ...info, target: info.target.slice(path.length) || "/" }));
  }

  async #mount(root: MountRoot, mount: CheckedMount, signal?: AbortSignal): Promise<void> {
    const key = `${root.containerId}\0${mount.target}`;
    if (this.#busy.has(key)) throw mountExists(mount.target, "has a mount already: unmount it first");
    this.#checkRoom(root.containerId);
    this.#busy.add(key);
    try {
      this.#forgetGone(root);
      if (this.records.named(root.containerId, mount.target))
        throw mountExists(mount.target, "has a mount already: unmount it first");
      const volume = this.#newVolume(mount);
      try {
        const detached = await this.#makeDetached(root, mount, volume, signal);
        await attach(mount, detached, {
          root,
          records: this.records,
          record: { containerId: root.containerId, target: mount.target, type: mount.type, volume },
          initPid: () => (root.containerId === "" ? undefined : this.#options.initPid(root.containerId)),
        });
      } catch (error) {
        if (volume) this.#volumes.remove(volume.name);
        throw mountFailed(error, mount);
      }
    } finally {
      this.#busy.delete(key);
    }
  }

  async #makeDetached(
    root: MountRoot,
    mount: CheckedMount,
    volume: MountRecord["volume"],
    signal?: AbortSignal,
  ): Promise<number> {
    if (volume) {
      this.#volumes.create(volume.name, mount.files);
      return this.#volumes.bind(volume.name, volume.single);
    }
    const { sysBlock, dev } = this.#options;
    const openPlace = (place: Place) => this.#openPlace(place, root);
    return makeDetached(mount, { sysBlock, dev, stage: this.#stage, openPlace }, signal);
  }

  /** A name that no other has, also of those that are being made. */
  #newVolume({ type, files }: CheckedMount): MountRecord["volume"] {
    if (type !== "files") return undefined;
    this.#lastVolume =
      Math.max(this.#lastVolume, ...this.records.all.map(({ volume }) => Number(volume?.name ?? 0))) + 1;
    return { name: String(this.#lastVolume), single: files[0]?.path.length === 0 };
  }
  #lastVolume = 0;

  #openPlace(place: Place, root: MountRoot): number {
    if (place.kind === "zone" && !this.records.named("", place.name)) throw sourceNotFound(`zone:${place.name}`);
    const folder = place.kind === "zone" ? join(this.#zone.path, place.name) : root.path;
    try {
      return withFd(openSync(folder, O_PATH | constants.O_DIRECTORY), (fd) => openInRoot(fd, place.path, O_PATH));
    } catch (error) {
      if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) throw error;
      throw sourceNotFound(place.kind === "zone" ? `zone:${place.name}${place.path}` : place.path);
    }
  }

  #isFrozen({ device }: MountInfo): boolean {
    const { frozen } = this.records;
    return (
      frozen.length > 0 && readMountInfo("self").some((info) => frozen.includes(info.id) && info.device === device)
    );
  }

  #rootOf(containerId: string): MountRoot | undefined {
    if (containerId === "") return this.#zone;
    const container = this.#options.container(containerId);
    return container && { containerId, path: container.rootfs };
  }

  #checkRoom(containerId: string): void {
    const { mounts, zoneMounts } = MOUNT_LIMITS;
    const of = containerId === "" ? this.records.of("").length >= zoneMounts : false;
    if (!of && this.records.size + this.#busy.size < mounts) return;
    throw agentError(
      "RESOURCE_EXHAUSTED",
      "TOO_MANY_MOUNTS",
      `${of ? zoneMounts : mounts} mounts are kept: unmount some`,
    );
  }

  /** Mounts go with their mount point when another container removes it; and with a recursive unmount. */
  #forgetGone(root: MountRoot): void {
    const infos = readMountInfo("self");
    for (const record of this.records.of(root.containerId))
      if (!findMounted(infos, record.id, root)) this.#forget(record);
  }

  #forget(record: MountRecord): void {
    this.records.remove(record.id);
    if (record.volume) this.#volumes.remove(record.volume.name);
  }
}
