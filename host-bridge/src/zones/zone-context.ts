import type { Logger } from "pino";
import type { DomainDriver } from "../domains/driver.js";
import type { Images } from "../images/image-store.js";
import type { StateStore } from "../state/store.js";
import type { Volumes } from "../volumes/volumes.js";
import type { EventHub } from "./event-hub.js";
import type { HostDns } from "./name-servers.js";
import type { PortOpener } from "./ports.js";
import type { HostSize } from "./spec.js";
import type { TimeKeeper } from "./time-keeper.js";

/** What zones need of the rest of the bridge. */
export interface ZoneContext {
  readonly store: StateStore;
  readonly images: Images;
  readonly driver: DomainDriver;
  readonly volumes: Volumes;
  readonly events: EventHub;
  readonly clocks: TimeKeeper;
  readonly openPorts: PortOpener;
  /** What the host's resolv.conf(5) says now. */
  readonly hostDns: () => Promise<HostDns>;
  /** Whether a user may do everything: root, and the user that the bridge runs as. */
  readonly isAdmin: (uid: number) => boolean;
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
