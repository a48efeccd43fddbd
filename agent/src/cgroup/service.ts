import { CgroupService, type Handlers, unimplemented } from "@zone/proto";

/** zone.agent.v1.Cgroup. */
export function cgroupService(): Handlers<typeof CgroupService> {
  return unimplemented(CgroupService);
}
