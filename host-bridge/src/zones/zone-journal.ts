import type { Logger } from "pino";
import { errorMessage } from "../errors.js";
import type { StateStore } from "../state/store.js";
import type { ZoneFacts, ZoneRecord } from "../state/zone-record.js";
import type { EventHub, ZoneEventType } from "./event-hub.js";
import { type LifeEvent, transition } from "./life.js";
import { type ZoneMessage, zoneMessage } from "./zone-message.js";

/** Characters that are kept of each thing that a zone says of itself. */
const MAX_FACT = 128;

/** What of a record may change beside the zone's life. */
export type Revision = Partial<
  Pick<ZoneRecord, "name" | "spec" | "main" | "volumes" | "ports" | "vcpus" | "oomKilled">
>;

/** A zone's record: the only place where it changes, is written, and its changes are told. */
export class ZoneJournal {
  readonly #store: StateStore;
  readonly #events: EventHub;
  readonly #log: Logger;
  #record: ZoneRecord;
  #linkUp = false;
  #removed = false;
  /** Settles when all that was asked for is written; one write follows the other, so that the last is the newest. */
  #written: Promise<void> = Promise.resolve();

  constructor(record: ZoneRecord, store: StateStore, events: EventHub, log: Logger) {
    this.#record = record;
    this.#store = store;
    this.#events = events;
    this.#log = log;
  }

  get record(): ZoneRecord {
    return this.#record;
  }

  /** The zone as the API shows it. */
  message(): ZoneMessage {
    return zoneMessage(this.#record, this.#linkUp);
  }

  /** Writes the record of a new zone. */
  async create(): Promise<void> {
    await this.#write();
    this.#publish("created");
  }

  /**
   * Changes the zone's life, and with it what else is given, at once; settles when that is on disk. Rejects when it cannot be
   * written.
   */
  apply(event: LifeEvent, change: Revision = {}): Promise<void> {
    const before = this.#record.life.state;
    this.#record = { ...this.#record, ...change, life: transition(this.#record.life, event) };
    const { state } = this.#record.life;
    if (state === "ended") this.#linkUp = false;
    if (state !== before) this.#publish(event.type === "resumed" ? "resumed" : state);
    return this.#write();
  }

  /** Changes what else is kept of the zone at once, tells of it as `event`, and settles when it is on disk. */
  revise(change: Revision, event?: ZoneEventType): Promise<void> {
    this.#record = { ...this.#record, ...change };
    if (event) this.#publish(event);
    return this.#write();
  }

  /** As revise, as a whole or not at all: what cannot be written is as it was. Tells of it when it is written. */
  async reviseWhole(change: Revision, event?: ZoneEventType): Promise<void> {
    const before = this.#record;
    try {
      await this.revise(change);
    } catch (thrown) {
      const keys = Object.keys(change) as (keyof Revision)[];
      await this.noteRevision(Object.fromEntries(keys.map((key) => [key, before[key]])));
      throw thrown;
    }
    if (event) this.#publish(event);
  }

  /** As revise, for what has happened and cannot be refused. */
  async noteRevision(change: Revision, event?: ZoneEventType): Promise<void> {
    await this.revise(change, event).catch((error) => this.#onWriteFailed(error));
  }

  /** As apply, for what has happened and cannot be refused: that it cannot be written is logged. */
  async note(event: LifeEvent): Promise<void> {
    await this.apply(event).catch((error) => this.#onWriteFailed(error));
  }

  /** The kernel has killed a process of its container for want of memory. Written once, told each time. */
  noteOom(): void {
    if (this.#record.oomKilled) this.#publish("oom");
    else void this.noteRevision({ oomKilled: true }, "oom");
  }

  /** Keeps what the zone said of itself. */
  noteFacts({ kernelRelease, agentVersion, machineId }: ZoneFacts): void {
    // A zone is hostile, and this goes into every answer that has the zone.
    const [kernel, agent, machine] = [kernelRelease, agentVersion, machineId].map((fact) => fact.slice(0, MAX_FACT));
    if (this.#record.facts?.agentVersion === agent) return;
    this.#record = {
      ...this.#record,
      facts: { kernelRelease: kernel ?? "", agentVersion: agent ?? "", machineId: machine ?? "" },
    };
    this.#write().catch((error) => this.#onWriteFailed(error));
  }

  /** Tells of what is recorded already. */
  tell(event: ZoneEventType): void {
    this.#publish(event);
  }

  /** Tells of what is not recorded. */
  noteLink(event: "link-up" | "link-down" | "agent-restarted"): void {
    if (event !== "agent-restarted") this.#linkUp = event === "link-up";
    this.#publish(event);
  }

  async remove(): Promise<void> {
    this.#removed = true;
    await this.#written;
    await this.#store.remove(this.#record.id);
    this.#publish("removed");
  }

  /** Settles when nothing is being written. */
  async idle(): Promise<void> {
    await this.#written;
  }

  #write(): Promise<void> {
    // A change that was under way when the zone was removed must not bring its record back.
    const written = this.#written.then(() => (this.#removed ? undefined : this.#store.put(this.#record)));
    this.#written = written.catch(() => {});
    return written;
  }

  #onWriteFailed(error: unknown): void {
    const message = "a zone's record cannot be written: a bridge that is started now would find the one before";
    this.#log.error({ error: errorMessage(error) }, message);
  }

  #publish(type: ZoneEventType): void {
    this.#log.info(`zone ${type}`);
    this.#events.publish({ time: Date.now(), type, ownerUid: this.#record.ownerUid, zone: this.message() });
  }
}
