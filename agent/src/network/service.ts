import { type Handlers, NetworkService, unimplemented } from "@zone/proto";

/** zone.agent.v1.Network. */
export function networkService(): Handlers<typeof NetworkService> {
  return unimplemented(NetworkService);
}
