import { randomBytes, randomInt } from "node:crypto";
import type { ProgressFn } from "../domains/driver.js";
import { bridgeError } from "../errors.js";
import { chooseName, lookUp } from "./names.js";
import { checkSpec, mainProcess, stopSignalOf, type ZoneSpec } from "./spec.js";
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
    const zones = (await context.store.zones()).map((record) => new Zone(record, context, () => table.#forget(record)));
    for (const zone of zones) {
      table.#zones.set(zone.id, zone);
      table.#names.set(zone.name, zone.id);
    }
    await Promise.all(zones.map((zone) => zone.adopt()));
    return table;
  }

  /** Checks a request, brings its image, and records the zone. Leaves nothing behind when it fails, but the image. */
  async create(request: ZoneSpec, caller: Caller, progress: ProgressFn, signal: AbortSignal): Promise<Zone> {
    const checked = checkSpec(request, this.#context.host);
    if (this.#names.size >= MAX_ZONES) {
      throw bridgeError("RESOURCE_EXHAUSTED", "TOO_MANY_ZONES", `there are ${MAX_ZONES} zones: remove some first`);
    }
    const name =
      checked.name ||
      chooseName(
        (taken) => this.#names.has(taken),
        (below) => randomInt(below),
      );
    if (this.#names.has(name)) {
      const message = `a zone named ${name} exists: remove it, or choose another name`;
      throw bridgeError("ALREADY_EXISTS", "NAME_IN_USE", message, { type: "zone", name });
    }
    const id = randomBytes(16).toString("hex");
    this.#names.set(name, id);
    try {
      const spec = { ...checked, name };
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
      const zone = new Zone(record, this.#context, () => this.#forget({ id, name }));
      // In the table at once, so that its image is in use from now on.
      this.#zones.set(id, zone);
      await zone.add();
      return zone;
    } catch (thrown) {
      this.#forget({ id, name });
      throw thrown;
    }
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

  /** The bridge ends, the zones go on. */
  async letGo(): Promise<void> {
    await Promise.all([...this.#zones.values()].map((zone) => zone.letGo()));
  }

  #forget({ id, name }: { id: string; name: string }): void {
    this.#zones.delete(id);
    if (this.#names.get(name) === id) this.#names.delete(name);
  }
}

/** Whether a caller may use what belongs to a user. */
export function mayUse(caller: Caller, ownerUid: number): boolean {
  return caller.admin || caller.uid === ownerUid;
}
