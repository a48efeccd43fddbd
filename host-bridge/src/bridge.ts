import { mkdir } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import type { HostFacts } from "./api/host-service.js";
import { ApiServer, type Members } from "./api/server.js";
import type { DomainDriver } from "./domains/driver.js";
import type { Images } from "./images/image-store.js";
import { StateStore } from "./state/store.js";
import { Volumes } from "./volumes/volumes.js";
import { EventHub } from "./zones/event-hub.js";
import type { HostDns } from "./zones/name-servers.js";
import type { PortOpener } from "./zones/ports.js";
import { hostClock, TimeKeeper } from "./zones/time-keeper.js";
import type { ZoneContext } from "./zones/zone-context.js";
import { ZoneTable } from "./zones/zone-table.js";

/** For calls that run when the bridge ends. */
const CLOSE_GRACE_MS = 500;
const HOLD_MS = 60_000;

/** What a bridge is made of. */
export interface BridgeParts {
  stateDir: string;
  socketPath: string;
  uid: number;
  members: Members;
  log: Logger;
  driver: DomainDriver;
  /** Called when the state directory is known to be this bridge's alone. */
  openImages: () => Promise<Images>;
  openPorts: PortOpener;
  /** What the host's resolv.conf(5) says now. */
  hostDns: () => Promise<HostDns>;
  /** For PATH: programs are looked up in it. */
  env: NodeJS.ProcessEnv;
  host: HostFacts;
  isolation?: ZoneContext["isolation"];
  holdMs?: number;
}

export interface RunningBridge {
  /** Stops serving and closes the links; zones go on. */
  close(): Promise<void>;
}

/** Opens the state, takes up the zones that an earlier bridge left, and serves. */
export async function startBridge(parts: BridgeParts): Promise<RunningBridge> {
  const { log } = parts;
  const zonesDir = join(parts.stateDir, "zones");
  await mkdir(zonesDir, { recursive: true, mode: 0o700 });
  const store = await StateStore.open(join(parts.stateDir, "state"));
  const clocks = new TimeKeeper({ clock: hostClock, random: Math.random });
  try {
    const images = await parts.openImages();
    const events = new EventHub();
    const volumes = await Volumes.open({ directory: join(parts.stateDir, "volumes"), store, env: parts.env });
    const zones = await ZoneTable.open({
      store,
      images,
      driver: parts.driver,
      volumes,
      events,
      clocks,
      openPorts: parts.openPorts,
      hostDns: parts.hostDns,
      isAdmin: (user) => user === 0 || user === parts.uid,
      log,
      zonesDir,
      host: { memoryBytes: totalmem(), cpus: availableParallelism() },
      isolation: parts.isolation ?? "container",
      holdMs: parts.holdMs ?? HOLD_MS,
    });
    const { uid, members, host } = parts;
    const api = new ApiServer(parts.socketPath, { zones, images, volumes, events, host, members, uid, log });
    await api.listen();
    log.info({ socket: parts.socketPath, pid: process.pid }, "zone-bridge serves");
    return {
      async close() {
        await api.close(CLOSE_GRACE_MS);
        clocks.close();
        await zones.letGo();
        await store.close();
        log.info("zone-bridge has ended; its zones go on");
      },
    };
  } catch (thrown) {
    clocks.close();
    await store.close();
    throw thrown;
  }
}
