/** Versions of the protocol (handshake's meaning and zone.agent.v1) that this build speaks. */
export const PROTOCOL_MIN: number = 1;
export const PROTOCOL_MAX: number = 1;

/** Who the agent is. Each text: at most 64 printable ASCII characters. */
export interface AgentIdentity {
  /** The zone's instance id; empty in a template's clone that has not been renewed yet. */
  readonly zoneId: string;
  /** Changes with every boot of the zone's kernel and with every renewal of a clone. */
  readonly bootId: string;
  readonly agentVersion: string;
}

/** What the agent's answer to a hello says. */
export interface AgentHello extends AgentIdentity {
  /** The protocol version that both speak: the highest that is in both ranges. */
  readonly version: number;
}
