import type * as grpc from "@grpc/grpc-js";
import { type Handlers, toTimestamp, type VolumesService, type ZonesService } from "@zone/proto";
import { api } from "../messages.js";
import { failure, streaming, unary } from "./rpc.js";
import type { TestBridge } from "./test-bridge.js";

/** What a zone can do while it runs, as the bridge would answer. What is asked for stays in the zone's message. */
export function resourceHandlers(
  bridge: TestBridge,
): Pick<Handlers<typeof ZonesService>, "pause" | "resume" | "update" | "stats" | "attachVolume" | "detachVolume"> {
  const { calls } = bridge;
  const become = (name: string, from: api.ZoneState, to: api.ZoneState) => {
    const { message } = bridge.zone(name);
    if (message.state !== from) throw failure("FAILED_PRECONDITION", "ZONE_NOT_PAUSED", `zone '${name}' is not paused`);
    message.state = to;
    return { zone: message };
  };
  const { ZONE_STATE_RUNNING: running, ZONE_STATE_PAUSED: paused } = api.ZoneState;
  return {
    pause: unary(calls, "pause", async ({ zone }) => become(zone, running, paused)),
    resume: unary(calls, "resume", async ({ zone }) => become(zone, paused, running)),
    update: unary(calls, "update", async (request) => {
      const { message } = bridge.zone(request.zone);
      const { zone: _, name, ...resources } = request;
      const known = Object.entries(resources).filter(([, value]) => value !== null && value !== undefined);
      Object.assign(message.spec, Object.fromEntries(known), name ? { name } : {});
      return { zone: message };
    }),
    stats: streaming(
      calls,
      "stats",
      async (call: grpc.ServerWritableStream<api.ZoneStatsRequest, api.ZoneStats.$Properties>) => {
        const turns = call.request.follow ? 3 : 1;
        for (let turn = 0; turn < turns; turn++) {
          const time = toTimestamp(Date.UTC(2024, 0, 1) + turn * 1000);
          const used = { cpuUs: turn * 500_000, memoryBytes: 64 << 20, memoryLimitBytes: 256 << 20, pids: 3 };
          for (const { message } of bridge.zones.values())
            call.write({ zoneId: message.id, name: message.spec.name, time, ...used, vmmPssBytes: 1 << 30 });
          call.write({ last: true });
        }
      },
    ),
    attachVolume: unary(calls, "attachVolume", async ({ zone, volume, target }) => {
      bridge.zone(zone).message.spec.mounts = [{ volume, target }];
      return {};
    }),
    detachVolume: unary(calls, "detachVolume", async ({ zone, volume }) => {
      const { spec } = bridge.zone(zone).message;
      if (!spec.mounts?.some((mount) => mount.volume?.name === volume))
        throw failure("NOT_FOUND", "VOLUME_UNKNOWN", `zone '${zone}' has no volume '${volume}'`);
      spec.mounts = [];
      return {};
    }),
  };
}

/** A service of volumes, which are names with sizes. */
export function volumeHandlers(calls: string[]): Handlers<typeof VolumesService> {
  const volumes = new Map<string, api.Volume.$Properties>();
  const find = (name: string) => {
    const volume = volumes.get(name);
    if (!volume) throw failure("NOT_FOUND", "VOLUME_UNKNOWN", `no volume '${name}'`);
    return volume;
  };
  return {
    create: unary(calls, "volume.create", async ({ name, sizeBytes }) => {
      const volume = { name: name || "vol-1", sizeBytes, allocatedBytes: 4096, createdAt: toTimestamp(Date.now()) };
      volumes.set(volume.name, volume);
      return { volume };
    }),
    list: unary(calls, "volume.list", async () => ({ volumes: [...volumes.values()] })),
    remove: unary(calls, "volume.remove", async ({ name }) => {
      find(name);
      volumes.delete(name);
      return {};
    }),
    resize: unary(calls, "volume.resize", async ({ name, sizeBytes }) => ({
      volume: Object.assign(find(name), { sizeBytes }),
    })),
  };
}
