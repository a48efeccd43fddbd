import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import * as proto from "@zone/proto";
import { bridgeError } from "../errors.js";
import type { Caller, ZoneTable } from "../zones/zone-table.js";
import { fail, forwardCall, type RawCall, undecoded } from "./forward-call.js";
import { ZONE_ID_KEY } from "./metadata.js";

const AGENT_PACKAGE = "/zone.agent.v1.";

/** The services of zone.agent.v1, as ones whose calls are not decoded. */
export const agentServices: readonly ServiceDefinition[] = (Object.values(proto) as unknown[])
  .filter(isAgentService)
  .map(rawService);

function isAgentService(exported: unknown): exported is proto.Service {
  if (typeof exported !== "object" || exported === null) return false;
  return Object.values(exported).some((method) => String(method?.path).startsWith(AGENT_PACKAGE));
}

function rawService(service: proto.Service): ServiceDefinition {
  const raw = Object.entries(service).map(([name, { path }]): [string, MethodDefinition<Buffer, Buffer>] => [
    name,
    {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: undecoded,
      requestDeserialize: undecoded,
      responseSerialize: undecoded,
      responseDeserialize: undecoded,
    },
  ]);
  return Object.fromEntries(raw);
}

/** A handler of every agent method: finds the zone that the metadata names, and forwards the call to it. */
export function agentHandler(zones: ZoneTable, caller: Caller): (call: RawCall) => void {
  return (call) => {
    forwardToZone(zones, caller, call).catch((error) => fail(call, proto.ZoneError.from(error).toStatus()));
  };
}

async function forwardToZone(zones: ZoneTable, caller: Caller, call: RawCall): Promise<void> {
  const wanted = call.metadata.get(ZONE_ID_KEY)[0];
  if (typeof wanted !== "string" || wanted === "") {
    const message = `the request's metadata names no zone: set "${ZONE_ID_KEY}" to an id, a unique prefix of one, or a name`;
    throw bridgeError("INVALID_ARGUMENT", "MISSING_ZONE_ID", message);
  }
  const zone = zones.get(wanted, caller);
  const gone = new AbortController();
  call.on("cancelled", () => gone.abort());
  const client = await zone.access.client(gone.signal, Math.max(0, Number(call.getDeadline()) - Date.now()));
  forwardCall(call, { client, onLinkLost: (error) => zone.access.unreachable(error) });
}
