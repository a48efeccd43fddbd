import { type Handlers, MountService, unimplemented } from "@zone/proto";

/** zone.agent.v1.Mount. */
export function mountService(): Handlers<typeof MountService> {
  return unimplemented(MountService);
}
