export { type ChannelOptions, clientOver, DuplexChannel } from "./duplex-channel.js";
export type { LinkErrorReason } from "./errors.js";
export { type AgentHello, type AgentIdentity, PROTOCOL_MAX, PROTOCOL_MIN } from "./hello.js";
export type { LinkState } from "./link-state.js";
export { memoryDuplexPair } from "./memory-pair.js";
export { ReconnectingLink, type ReconnectingOptions } from "./reconnecting-link.js";
export { type ServedLinks, type ServeEvent, type ServeOptions, serveLinks } from "./serve.js";
export { openSession, type ProbeOptions, probeAgent, type Session, type SessionOptions } from "./session.js";
export { openTransport, type TransportOptions } from "./transport.js";
export {
  type AgentAddress,
  formatAgentAddress,
  formatLinkUri,
  type LinkAddress,
  parseAgentAddress,
  parseLinkUri,
} from "./uri.js";
