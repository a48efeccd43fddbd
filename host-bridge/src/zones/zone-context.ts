import type { Logger } from "pino";
import type { DomainDriver } from "../domains/driver.js";
import type { Images } from "../images/image-store.js";
import type { StateStore } from "../state/store.js";
import type { EventHub } from "./event-hub.js";
import type { HostSize } from "./spec.js";

/** What zones need of the rest of the bridge. */
export interface ZoneContext {
  readonly store: StateStore;
  readonly images: Images;
  readonly driver: DomainDriver;
  readonly events: EventHub;
  readonly log: Logger;
  readonly host: HostSize;
  /** Holds a folder for each zone: its logs. */
  readonly zonesDir: string;
  /**
   * "container": the main process runs in a container whose root is the image's disk. "none": in the zone itself, for zones
   * that are no VMs (tests, development).
   */
  readonly isolation: "container" | "none";
  /** Milliseconds that a main process is held for a client to attach. */
  readonly holdMs: number;
}
