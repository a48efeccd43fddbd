import { join } from "node:path";

/** Where the bridge is, and whether it is ours to start. */
export interface BridgeAddress {
  /** Of its Unix socket. */
  readonly path: string;
  /** Its folder for the socket, the start lock and the log. */
  readonly runDirectory: string;
  /** Start it when it does not run: it is the default one, and ZONE_NO_AUTOSTART is not set. */
  readonly autostart: boolean;
}

/** From --bridge, ZONE_BRIDGE and ZONE_RUN_DIR, in this order. */
export function bridgeAddress(option: string | undefined, env: NodeJS.ProcessEnv): BridgeAddress {
  const runDirectory = env.ZONE_RUN_DIR || "/run/zone-bridge";
  const standard = join(runDirectory, "bridge.sock");
  const path = (option ?? env.ZONE_BRIDGE) || standard;
  const isOff = (env.ZONE_NO_AUTOSTART ?? "") !== "" && env.ZONE_NO_AUTOSTART !== "0";
  return { path, runDirectory, autostart: path === standard && !isOff };
}
