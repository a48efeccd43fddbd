import { google, zone } from "../gen/messages.js";

/** Messages of zone.agent.v1, zone.bridge.v1 and google. */
export const agent = zone.agent.v1;
export const bridge = zone.bridge.v1;
export { fileDescriptors } from "../gen/descriptors.js";
export * from "../gen/services.js";
export { CAPABILITY_NAMES, DEFAULT_CAPABILITY_NAMES, plainCapabilityName } from "./capabilities.js";
export { type CallOptions, type ClientStream, createClient, type ServiceClient } from "./client.js";
export { type Code, ZoneError, type ZoneErrorInit } from "./errors.js";
export {
  FORWARD_CHUNK_BYTES,
  type ForwardCall,
  type ForwardMessage,
  giveUpForward,
  type MessageStream,
  openForward,
  type PumpOptions,
  pumpForward,
  pumpMessages,
  resetSocket,
} from "./forward.js";
export { type Handlers, type Method, type Service, unimplemented } from "./rpc.js";
export { fromDuration, fromTimestamp, toDuration, toTimestamp } from "./time.js";
export { google, zone };
