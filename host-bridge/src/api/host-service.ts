import { PROTOCOL_MAX, PROTOCOL_MIN } from "@zone/link";
import type { Handlers, HostService } from "@zone/proto";
import type { Logger } from "pino";
import { unaryCall } from "./calls.js";
import type { HealthCheck } from "./doctor.js";

/** What the host service tells of the bridge and the machine. */
export interface HostFacts {
  bridgeVersion: string;
  pid: number;
  /** Empty when there is none. */
  zoneImageVersion: () => Promise<string>;
  hypervisorVersion: () => Promise<string>;
  /** All checks; with `probe`, also what takes seconds. */
  checks: (probe: boolean, signal: AbortSignal) => Promise<HealthCheck[]>;
}

/** zone.bridge.v1.Host. */
export function hostService(facts: HostFacts, log: Logger): Handlers<typeof HostService> {
  return {
    version: unaryCall(log, async () => ({
      bridgeVersion: facts.bridgeVersion,
      protocolMin: PROTOCOL_MIN,
      protocolMax: PROTOCOL_MAX,
      zoneImageVersion: await facts.zoneImageVersion(),
      hypervisorVersion: await facts.hypervisorVersion(),
      pid: facts.pid,
    })),
    doctor: unaryCall(log, async ({ probe }, signal) => ({ checks: await facts.checks(probe, signal) })),
  };
}
