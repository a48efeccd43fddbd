export * from "./descriptors.js";
export { InitClient } from "./init-client.js";
export * from "./init-types.js";
export {
  type CapabilitySets,
  type DecodedSpec,
  decodeSpec,
  encodeSpec,
  MAX_GROUPS,
  MAX_RLIMITS,
  MAX_SPEC_BYTES,
  type ResourceLimit,
  type SpawnSpec,
  UNLIMITED,
} from "./spawn-spec.js";
export { type StreamMode, streamFromFd } from "./stream.js";
export * from "./system.js";
export * as vsock from "./vsock.js";
