import type { BridgeAddress } from "./bridge/address.js";

/** What every command gets: the settings, and this process's edges. */
export interface Context {
  readonly bridge: BridgeAddress;
  readonly color: boolean;
  readonly debug: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}
