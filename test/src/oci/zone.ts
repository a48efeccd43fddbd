import { Client, credentials } from "@grpc/grpc-js";
import { type CallOptions, ContainerService, createClient, FileService, ProcessService } from "@zone/proto";
import { RuntimeError } from "./runtime-error.js";

/** Where the runtime's containers are made, and what it needs for that. */
export interface Zone {
  container: ReturnType<typeof containerClient>;
  process: ReturnType<typeof processClient>;
  file: ReturnType<typeof fileClient>;
  /** Forwards a call to the zone. */
  options: CallOptions;
  close(): void;
}

/** What a runtime's caller cannot say on the command line of the validation suite, by environment variables. */
export interface Settings {
  /** ZONE_BRIDGE: the bridge's socket. */
  bridge: string;
  /** ZONE_OCI_ZONE: a running zone's name or id. */
  zone: string;
  /** ZONE_OCI_STATE: the folder of the runtime's records. */
  state: string;
}

/** Throws RuntimeError for what is not set. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const want = (name: string) => {
    const value = env[name];
    if (!value) throw new RuntimeError(`${name} is not set`);
    return value;
  };
  return { bridge: want("ZONE_BRIDGE"), zone: want("ZONE_OCI_ZONE"), state: want("ZONE_OCI_STATE") };
}

export function openZone({ bridge, zone }: Settings): Zone {
  const client = new Client(`unix:${bridge}`, credentials.createInsecure());
  return {
    container: containerClient(client),
    process: processClient(client),
    file: fileClient(client),
    options: { metadata: { "zone-id": zone } },
    close: () => client.close(),
  };
}

const containerClient = (client: Client) => createClient(ContainerService, client);
const processClient = (client: Client) => createClient(ProcessService, client);
const fileClient = (client: Client) => createClient(FileService, client);
