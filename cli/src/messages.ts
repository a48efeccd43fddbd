import { zone } from "@zone/proto";

// Short names for the two packages, for types and values alike.
export import agent = zone.agent.v1;
export import api = zone.bridge.v1;
