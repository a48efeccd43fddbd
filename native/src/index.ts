export * from "./descriptors.js";
export * from "./init-client.js";
export {
  type CapabilitySets,
  type DecodedSpec,
  decodeSpec,
  encodeSpec,
  MAX_SPEC_BYTES,
  type ResourceLimit,
  type SpawnSpec,
  UNLIMITED,
} from "./spawn-spec.js";
export { streamFromFd } from "./stream.js";
export * from "./system.js";
export * as vsock from "./vsock.js";
