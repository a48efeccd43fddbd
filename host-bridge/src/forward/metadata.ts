import { Metadata } from "@grpc/grpc-js";

/** Names the zone in a request's metadata; zones.proto. */
export const ZONE_ID_KEY = "zone-id";

/** The status details of gRPC: google.rpc.Status. */
const DETAILS_KEY = "grpc-status-details-bin";
const OWN_KEY = /^(x|zone)-[a-z0-9_.-]{1,64}$/;
const MAX_BYTES = 16 * 1024;
const MAX_KEYS = 32;

/**
 * What is passed on of metadata, from a client to a zone or back: keys that begin with "x-" or "zone-", one value each, and a
 * status's details; 16 KiB in all, what is beyond is left out. The rest belongs to HTTP/2 and to each hop's gRPC, and a zone
 * could bring the bridge's own HTTP/2 to refuse it.
 */
export function passedOn(metadata: Metadata): Metadata {
  const passed = new Metadata();
  let [bytes, keys] = [0, 0];
  for (const key of Object.keys(metadata.getMap())) {
    if (key !== DETAILS_KEY && (key === ZONE_ID_KEY || !OWN_KEY.test(key))) continue;
    const value = metadata.get(key)[0];
    if (value === undefined) continue;
    bytes += key.length + value.length;
    keys += 1;
    if (bytes > MAX_BYTES || keys > MAX_KEYS) break;
    passed.set(key, value);
  }
  return passed;
}
