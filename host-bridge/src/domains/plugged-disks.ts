import { open } from "node:fs/promises";
import { bridgeError, errorMessage } from "../errors.js";
import type { AttachedDisk } from "./domain-state.js";
import type { DomainDisk } from "./driver.js";
import { type FileClaims, fileIdentity } from "./file-claims.js";
import { diskDevice, diskDeviceAdd, diskNode } from "./qemu-disk.js";
import type { QmpClient, QmpEvent } from "./qmp.js";

/** A guest lets a device go in a fraction of a second; one that is busy, or has no kernel that listens, does not. */
const UNPLUG_MS = 10_000;
const SERIAL = /^[a-z0-9-]{1,20}$/;

/** INVALID_ARGUMENT/INVALID_DEVICE. */
export function checkSerial(serial: string): void {
  if (SERIAL.test(serial)) return;
  throw bridgeError("INVALID_ARGUMENT", "INVALID_DEVICE", `"${serial}" cannot name a disk: 1 to 20 of a-z, 0-9 and -`);
}

/**
 * The disks of one domain. A disk that the guest was asked to let go and did not is still attached; should it go later, or by the
 * guest's own will, the event takes it off all the same.
 *
 *   (none) --attach--> attached --detach, DEVICE_DELETED--> (none)
 *                         '--------DEVICE_DELETED------------^
 */
export class PluggedDisks {
  readonly #qmp: QmpClient;
  readonly #claims: FileClaims;
  readonly #disks: Map<string, AttachedDisk>;
  readonly #changed: (disks: AttachedDisk[]) => Promise<void>;
  readonly #unplugTimeoutMs: number;
  /** Of those that the guest has let go, until all that belongs to them is gone too. */
  readonly #leaving = new Map<string, Promise<void>>();

  /** `disks` are there already, and claimed; `changed` keeps the list. */
  constructor(options: {
    qmp: QmpClient;
    claims: FileClaims;
    disks: readonly AttachedDisk[];
    changed: (disks: AttachedDisk[]) => Promise<void>;
    unplugTimeoutMs?: number;
  }) {
    this.#qmp = options.qmp;
    this.#claims = options.claims;
    this.#disks = new Map(options.disks.map((disk) => [disk.serial, disk]));
    this.#changed = options.changed;
    this.#unplugTimeoutMs = options.unplugTimeoutMs ?? UNPLUG_MS;
  }

  list(): AttachedDisk[] {
    return [...this.#disks.values()];
  }

  /** Plugs it in: the file is opened here and handed over, so that the VMM needs no right on it. */
  async attach({ serial, path, readOnly = true }: DomainDisk): Promise<void> {
    checkSerial(serial);
    await this.#leaving.get(serial);
    if (this.#disks.has(serial))
      throw bridgeError("FAILED_PRECONDITION", "VOLUME_IN_USE", `this zone has a disk ${serial} already`);
    const file = await open(path, readOnly ? "r" : "r+").catch((cause) => {
      throw bridgeError(
        "INTERNAL",
        "FILE_UNREADABLE",
        `cannot open ${path} for a zone: ${errorMessage(cause)}`,
        undefined,
        cause,
      );
    });
    try {
      const identity = fileIdentity(await file.stat());
      this.#claims.take(identity, readOnly, path);
      try {
        const set = await addDescriptor(this.#qmp, file.fd);
        await this.#plug(serial, set, readOnly);
        this.#disks.set(serial, { serial, path, readOnly, file: identity, set });
        await this.#changed(this.list());
      } catch (error) {
        this.#claims.release(identity, readOnly);
        throw hotplugFailed(`disk ${serial} cannot be attached`, error);
      }
    } finally {
      await file.close();
    }
  }

  async detach(serial: string): Promise<void> {
    this.#known(serial);
    const id = diskDevice(serial);
    const gone = this.#qmp.event(`the unplugging of ${serial}`, isDeleted(id), this.#unplugTimeoutMs);
    gone.catch(() => {});
    try {
      await this.#qmp.execute("device_del", { id });
    } catch (error) {
      // "already in the process of unplug": an earlier request that the guest has not answered stands.
      if (!/unplug/.test(errorMessage(error))) throw hotplugFailed(`disk ${serial} cannot be detached`, error);
    }
    try {
      await gone;
    } catch (cause) {
      if (!/QMP_TIMEOUT/.test((cause as { reason?: string }).reason ?? "")) throw cause;
      const message = `the zone does not let go of disk ${serial}: unmount what is on it, and see that the zone is not paused`;
      throw bridgeError("FAILED_PRECONDITION", "VOLUME_BUSY", message, { type: "disk", name: serial }, cause);
    }
    await this.#forget(serial);
  }

  async resize(serial: string, bytes: number): Promise<void> {
    this.#known(serial);
    try {
      await this.#qmp.execute("block_resize", { "node-name": serial, size: bytes });
    } catch (error) {
      throw hotplugFailed(`disk ${serial} cannot be resized`, error);
    }
  }

  /** An event of the monitor. */
  event(event: QmpEvent): void {
    for (const serial of this.#disks.keys()) {
      if (isDeleted(diskDevice(serial))(event)) void this.#forget(serial).catch(() => {}); // the VMM is gone
    }
  }

  /** The domain is gone. */
  releaseAll(): void {
    for (const { file, readOnly } of this.#disks.values()) this.#claims.release(file, readOnly);
    this.#disks.clear();
  }

  async #plug(serial: string, set: number, readOnly: boolean): Promise<void> {
    try {
      await this.#qmp.execute("blockdev-add", diskNode(serial, set, readOnly));
      try {
        await this.#qmp.execute("device_add", diskDeviceAdd(serial));
      } catch (error) {
        await this.#qmp.execute("blockdev-del", { "node-name": serial });
        throw error;
      }
    } catch (error) {
      await this.#qmp.execute("remove-fd", { "fdset-id": set });
      throw error;
    }
  }

  /** Once, whoever hears of it first: node, descriptor and claim go. */
  #forget(serial: string): Promise<void> {
    const disk = this.#disks.get(serial);
    if (!disk) return this.#leaving.get(serial) ?? Promise.resolve();
    this.#disks.delete(serial);
    const gone = this.#remove(disk).finally(() => this.#leaving.delete(serial));
    this.#leaving.set(serial, gone);
    return gone;
  }

  async #remove(disk: AttachedDisk): Promise<void> {
    try {
      await this.#qmp.execute("blockdev-del", { "node-name": disk.serial });
      await this.#qmp.execute("remove-fd", { "fdset-id": disk.set });
    } finally {
      this.#claims.release(disk.file, disk.readOnly);
      await this.#changed(this.list());
    }
  }

  #known(serial: string): void {
    if (this.#disks.has(serial)) return;
    throw bridgeError("NOT_FOUND", "VOLUME_UNKNOWN", `this zone has no disk ${serial}`, { type: "disk", name: serial });
  }
}

/** Hands a descriptor to the VMM; answers with the set that it is in. */
async function addDescriptor(qmp: QmpClient, fd: number): Promise<number> {
  const added = (await qmp.executeWith(fd, "add-fd")) as { "fdset-id"?: unknown } | undefined;
  const set = added?.["fdset-id"];
  if (typeof set !== "number") throw new Error("QEMU says no set for a descriptor");
  return set;
}

function isDeleted(device: string): (event: QmpEvent) => boolean {
  return ({ name, data }) => name === "DEVICE_DELETED" && data.device === device;
}

/** FAILED_PRECONDITION/HOTPLUG_FAILED, unless it is an error that says more. */
export function hotplugFailed(what: string, cause: unknown): Error {
  const reason = (cause as { reason?: string }).reason ?? "";
  if (cause instanceof Error && reason !== "" && reason !== "QMP_FAILED") return cause;
  return bridgeError("FAILED_PRECONDITION", "HOTPLUG_FAILED", `${what}: ${errorMessage(cause)}`, undefined, cause);
}
