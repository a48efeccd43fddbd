import type { Logger } from "pino";
import { errorMessage } from "../errors.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { type FilesByTarget, type MountPlan, planMounts, volumesOf } from "./mount-plan.js";
import type { OpenPorts, PortTarget } from "./ports.js";
import type { ZoneContext } from "./zone-context.js";

/** What of the host a zone has taken before its domain is made. */
export interface Prepared {
  mounts: MountPlan;
  ports: OpenPorts["ports"];
}

/** What a zone has of its host from its start to its end: volumes and ports. */
export class Holdings {
  readonly #context: ZoneContext;
  readonly #target: PortTarget;
  readonly #log: Logger;
  #ports: OpenPorts | undefined;

  constructor(context: ZoneContext, target: PortTarget, log: Logger) {
    this.#context = context;
    this.#target = target;
    this.#log = log;
  }

  /**
   * Takes what a zone needs: its volumes (made when there are none), a look at what it mounts, its ports. Leaves nothing taken when
   * it fails: FILES_LOST, VOLUME_IN_USE, PORT_IN_USE, SOURCE_NOT_FOUND...
   */
  async take(record: ZoneRecord, files: FilesByTarget): Promise<Prepared> {
    const { id, name, ownerUid, spec } = record;
    const { volumes, isAdmin, openPorts } = this.#context;
    const owner = { uid: ownerUid, admin: isAdmin(ownerUid) };
    try {
      for (const { volume } of volumesOf(spec.mounts ?? [])) {
        await volumes.ensure(volume, owner);
        volumes.take(volume, { id, name });
      }
      const mounts = await planMounts(record, files, (volume) => volumes.pathOf(volume));
      this.#ports = await openPorts(spec.ports ?? [], this.#target);
      return { mounts, ports: this.#ports.ports };
    } catch (thrown) {
      volumes.release(id);
      throw thrown;
    }
  }

  /** Takes again what a zone had under an earlier bridge, with the same ports. What it cannot have again is logged: it goes on. */
  async retake({ id, name, volumes, ports }: ZoneRecord): Promise<void> {
    for (const { volume } of volumes ?? []) {
      try {
        this.#context.volumes.take(volume, { id, name });
      } catch (thrown) {
        this.#log.error({ error: errorMessage(thrown), volume }, "a zone's volume is another one's by the records");
      }
    }
    try {
      this.#ports = await this.#context.openPorts(ports ?? [], this.#target);
    } catch (thrown) {
      this.#log.error({ error: errorMessage(thrown) }, "the ports of a zone cannot be published again");
    }
  }

  /** Gives everything back. */
  async giveBack(zoneId: string): Promise<void> {
    this.#context.volumes.release(zoneId);
    await this.closePorts();
  }

  /** Publishes nothing any more. */
  async closePorts(): Promise<void> {
    const ports = this.#ports;
    this.#ports = undefined;
    await ports?.close().catch((error) => this.#log.error({ err: error }, "published ports could not be closed"));
  }
}
