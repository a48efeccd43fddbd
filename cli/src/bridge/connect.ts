import { Client, credentials } from "@grpc/grpc-js";
import {
  createClient,
  FileService,
  HostService,
  ImagesService,
  NetworkService,
  ProcessService,
  type ServiceClient,
  VolumesService,
  ZonesService,
} from "@zone/proto";
import type { Context } from "../context.js";
import { UsageError } from "../parse/usage-error.js";
import { progressOn } from "../progress.js";
import { ensureBridge } from "./start.js";

/** The services of the bridge that zonectl uses. */
export interface Bridge {
  readonly zones: ServiceClient<typeof ZonesService>;
  readonly images: ServiceClient<typeof ImagesService>;
  readonly volumes: ServiceClient<typeof VolumesService>;
  readonly host: ServiceClient<typeof HostService>;
  /** Forwarded to the zone that the call's metadata names: `inZone`. */
  readonly process: ServiceClient<typeof ProcessService>;
  readonly network: ServiceClient<typeof NetworkService>;
  readonly file: ServiceClient<typeof FileService>;
  close(): void;
}

/** For calls that answer at once. */
export const QUICK = { timeoutMs: 30_000 } as const;

/** Larger than any answer of a bridge with thousands of zones; a bound all the same. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** A client of the bridge, which is started when it does not run and is ours to start. */
export async function openBridge(context: Context): Promise<Bridge> {
  const progress = progressOn(context.stderr);
  try {
    const waiting = () => progress.update({ phase: "bridge", message: "starting the bridge" });
    await ensureBridge(context.bridge, context.env, waiting);
  } finally {
    progress.clear();
  }
  return connectBridge(context.bridge.path);
}

/** A client of the bridge at `path`; nothing is sent yet. */
export function connectBridge(path: string): Bridge {
  const client = new Client(`unix:${path}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    // Bulk output stands and falls with the window.
    "grpc-node.flow_control_window": 1024 * 1024,
    // A restarted bridge is to be found again at once.
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.min_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.service_config_disable_resolution": 1,
  });
  return {
    zones: createClient(ZonesService, client),
    images: createClient(ImagesService, client),
    volumes: createClient(VolumesService, client),
    host: createClient(HostService, client),
    process: createClient(ProcessService, client),
    network: createClient(NetworkService, client),
    file: createClient(FileService, client),
    close: () => client.close(),
  };
}

/** Metadata that sends a call on to a zone. */
export function inZone(zone: string): { metadata: { "zone-id": string } } {
  return { metadata: { "zone-id": zone } };
}

/** A zone's name or id as the user gave it; what can be neither is refused here, since metadata could not carry it. */
export function zoneName(text: string): string {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(text)) return text;
  throw new UsageError(`invalid zone '${text}': give a zone's name or id; \`zonectl ls -a\` lists the zones`);
}
