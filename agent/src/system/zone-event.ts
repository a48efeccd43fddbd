import { toTimestamp, type zone } from "@zone/proto";
import type { Delivery } from "./event-hub.js";

type EventMessage = zone.agent.v1.Event.$Properties;

/** What happens in a zone, as its clients are told; the names are those of Event in system.proto. */
export type ZoneEvent = Pick<
  EventMessage,
  | "processStarted"
  | "processEnded"
  | "containerCreated"
  | "containerDeleted"
  | "containerPaused"
  | "containerResumed"
  | "containerOom"
  | "containerUpdated"
  | "shuttingDown"
>;

export function toEventMessage(delivery: Delivery<ZoneEvent>): EventMessage {
  const { sequence, at } = delivery;
  const kind = "lost" in delivery ? { lost: { count: delivery.lost } } : delivery.event;
  return { sequence, time: toTimestamp(at), ...kind };
}
