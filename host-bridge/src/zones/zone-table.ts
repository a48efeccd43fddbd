import { randomBytes, randomInt } from "node:crypto";
import type { zone as zoneProto } from "@zone/proto";
import type { ProgressFn } from "../domains/driver.js";
import { bridgeError } from "../errors.js";
import { checkHostMounts } from "./host-mount.js";
import { mainProcess } from "./main-spec.js";
import { volumesOf, withoutContent } from "./mount-plan.js";
import { chooseName, lookUp } from "./names.js";
import { checkPortRights } from "./ports.js";
import { checkName, checkSpec, stopSignalOf, type ZoneSpec } from "./spec.js";
import { Zone } from "./zone.js";
import type { ZoneContext } from "./zone-context.js";

const MAX_ZONES = 1000;

/** Who asks, by the credentials of the connection. */
export interface Caller {
  uid: number;
  /** May use every zone: root, and the user that the bridge runs as. */
  admin: boolean;
}

/** All zones of this bridge. */
export class ZoneTable {
  readonly #context: ZoneContext;
  readonly #zones = new Map<string, Zone>();
  /** Names in use, and those of zones that are being made, with the ids of their zones. */
  readonly #names = new Map<string, string>();

  private constructor(context: ZoneContext) {
    this.#context = context;
  }

  /** Takes up what an earlier bridge left; answers when each zone is kept again, or known to have ended. */
  static async open(context: ZoneContext): Promise<ZoneTable> {
    const table = new ZoneTable(context);
    const zones = (await context.store.zones()).map((record) => {
      const zone: Zone = new Zone(record, context, () => table.#forget(zone));
      return zone;
    });
    for (const zone of zones) {
      table.#zones.set(zone.id, zone);
      table.#names.set(zone.name, zone.id);
    }
    const adopted = await Promise.allSettled(zones.map((zone) => zone.adopt()));
    for (const { reason } of adopted.filter((each) => each.status === "rejected"))
      context.log.error({ err: reason }, "a zone of an earlier bridge is in an unknown state");
    return table;
  }

  /** Checks a request, brings its image, and records the zone. Leaves nothing behind when it fails, but the image. */
  async create(
    request: ZoneSpec,
    caller: Caller,
    progress: ProgressFn,
    signal: AbortSignal,
    wantedId = "",
  ): Promise<Zone> {
    const id = this.#idFor(wantedId);
    const checked = checkSpec(request, this.#context.host);
    checkPortRights(checked.ports ?? [], caller);
    await checkHostMounts(checked.mounts ?? [], caller);
    for (const { volume } of volumesOf(checked.mounts ?? [])) this.#context.volumes.checkUsable(volume, caller);
    if (this.#names.size >= MAX_ZONES) {
      throw bridgeError("RESOURCE_EXHAUSTED", "TOO_MANY_ZONES", `there are ${MAX_ZONES} zones: remove some first`);
    }
    const name =
      checked.name ||
      chooseName(
        (taken) => this.#names.has(taken),
        (below) => randomInt(below),
      );
    this.#mustBeFree(name);
    this.#names.set(name, id);
    try {
      const { mounts, files } = withoutContent(checked.mounts ?? []);
      const spec = { ...checked, name, mounts };
      const image = await this.#context.images.pull(spec.image ?? "", progress, signal);
      signal.throwIfAborted();
      const main = mainProcess(spec, image.config);
      const stopSignal = stopSignalOf(spec, image.config);
      const [createdAt, imageDigest, ownerUid] = [Date.now(), image.digest, caller.uid];
      const record = {
        id,
        name,
        ownerUid,
        spec,
        main,
        stopSignal,
        imageDigest,
        createdAt,
        life: { state: "created" },
      } as const;
      const zone: Zone = new Zone(record, this.#context, () => this.#forget(zone), files);
      // In the table at once, so that its image is in use from now on.
      this.#zones.set(id, zone);
      await zone.add();
      return zone;
    } catch (thrown) {
      this.#forget({ id, name });
      throw thrown;
    }
  }

  /** Whether main processes run in containers. */
  get contained(): boolean {
    return this.#context.isolation === "container";
  }

  /**
   * Changes a zone's resources, and its name. Both or none: the name is taken first, which costs nothing to take back.
   * The errors of rename and of ZoneChanges.update.
   */
  async update(zone: Zone, asked: zoneProto.bridge.v1.UpdateZoneRequest.$Properties): Promise<void> {
    const { name } = zone;
    const update = {
      ...present("memoryBytes", asked.memoryBytes),
      ...present("cpuMillis", asked.cpuMillis),
      ...present("pidsLimit", asked.pidsLimit),
      ...present("memoryLimitBytes", asked.memoryLimitBytes),
    };
    if (typeof asked.name === "string") await this.rename(zone, asked.name);
    if (Object.keys(update).length === 0) return;
    try {
      await zone.changes.update(update);
    } catch (thrown) {
      // Unless it has been given yet another one.
      if (zone.name === asked.name) {
        await this.rename(zone, name).catch((error) =>
          this.#context.log.error({ err: error, zone: zone.id }, "a zone cannot be given its name back"),
        );
      }
      throw thrown;
    }
  }

  /** Gives a zone another name. INVALID_NAME, NAME_IN_USE. */
  async rename(zone: Zone, name: string): Promise<void> {
    const { id } = zone;
    checkName(name);
    if (name === zone.name) return;
    this.#mustBeFree(name);
    this.#names.set(name, id);
    try {
      const before = await zone.changes.rename(name);
      this.#context.volumes.renameHolder(id, name);
      if (this.#names.get(before) === id) this.#names.delete(before);
      if (!this.#zones.has(id)) this.#names.delete(name); // removed meanwhile
    } catch (thrown) {
      this.#names.delete(name);
      throw thrown;
    }
  }

  #idFor(wanted: string): string {
    if (wanted === "") return randomBytes(16).toString("hex");
    if (!/^[0-9a-f]{32}$/.test(wanted)) {
      throw bridgeError("INVALID_ARGUMENT", "INVALID_NAME", "zone_id is not 32 hexadecimal digits");
    }
    if ([...this.#names.values()].includes(wanted)) {
      throw bridgeError("ALREADY_EXISTS", "NAME_IN_USE", `there is a zone with the id ${wanted} already`);
    }
    return wanted;
  }

  #mustBeFree(name: string): void {
    if (!this.#names.has(name)) return;
    const message = `a zone named ${name} exists: remove it, or choose another name`;
    throw bridgeError("ALREADY_EXISTS", "NAME_IN_USE", message, { type: "zone", name });
  }

  /** The zone that `wanted` names: an id, a unique prefix of one, or a name. ZONE_UNKNOWN, NOT_YOUR_ZONE. */
  get(wanted: string, caller: Caller): Zone {
    const found = lookUp(this.#zones.values(), wanted);
    const resource = { type: "zone", name: wanted.slice(0, 80) };
    if (found === undefined || found === "ambiguous") {
      const why = found
        ? `more than one zone's id begins with "${resource.name}"`
        : `there is no zone "${resource.name}"`;
      throw bridgeError("NOT_FOUND", "ZONE_UNKNOWN", why, resource);
    }
    if (!mayUse(caller, found.record.ownerUid)) {
      const message = `zone ${resource.name} belongs to another user`;
      throw bridgeError("PERMISSION_DENIED", "NOT_YOUR_ZONE", message, resource);
    }
    return found;
  }

  /** The caller's zones, newest first; those that have ended only when `all`. */
  list(caller: Caller, all: boolean): Zone[] {
    return [...this.#zones.values()]
      .filter(({ record }) => mayUse(caller, record.ownerUid) && (all || record.life.state !== "ended"))
      .sort((a, b) => b.record.createdAt - a.record.createdAt);
  }

  /** The name of a zone that has this image and has not ended. */
  userOf(imageDigest: string): string | undefined {
    for (const { record } of this.#zones.values()) {
      if (record.imageDigest === imageDigest && record.life.state !== "ended") return record.name;
    }
    return undefined;
  }

  /** The name of a zone that has not ended and names this volume. */
  userOfVolume(volume: string): string | undefined {
    for (const { record } of this.#zones.values()) {
      const { life, spec, volumes = volumesOf(spec.mounts ?? []) } = record;
      if (life.state !== "ended" && volumes.some((use) => use.volume === volume)) return record.name;
    }
    return undefined;
  }

  /** The file of a volume has grown to `bytes`: the zone that has it learns of it. */
  async volumeGrown(volume: string, bytes: number): Promise<void> {
    const holder = this.#context.volumes.holderOf(volume);
    if (holder) await this.#zones.get(holder.id)?.changes.volumeGrown(volume, bytes);
  }

  /** The bridge ends, the zones go on. */
  async letGo(): Promise<void> {
    await Promise.all([...this.#zones.values()].map((zone) => zone.letGo()));
  }

  #forget({ id, name }: { id: string; name: string }): void {
    this.#zones.delete(id);
    if (this.#names.get(name) === id) this.#names.delete(name);
  }
}

/** A field that the request has; 0 is a value too. */
function present(field: string, value: number | null | undefined): Record<string, number> {
  return typeof value === "number" ? { [field]: value } : {};
}

/** Whether a caller may use what belongs to a user. */
export function mayUse(caller: Caller, ownerUid: number): boolean {
  return caller.admin || caller.uid === ownerUid;
}
