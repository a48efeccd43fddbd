import { type CgroupService, type Handlers, toTimestamp, type zone } from "@zone/proto";
import { admittedBy, streamHandler } from "../handlers.js";
import type { EventHub } from "../system/event-hub.js";
import { writeFrom } from "../system/stream-writer.js";
import type { CgroupTree } from "./cgroup-tree.js";
import type { CgroupNews } from "./watcher.js";

/** zone.agent.v1.Cgroup. `admit` throws when the zone takes no work yet. */
export function cgroupService(
  tree: CgroupTree,
  news: EventHub<CgroupNews>,
  admit: () => void,
): Handlers<typeof CgroupService> {
  const admitted = admittedBy(admit);
  const nothing = () => ({});
  return {
    create: admitted<zone.agent.v1.CreateCgroupRequest, object>(({ path, resources }) => {
      tree.create(path, resources ?? {});
      return {};
    }),
    list: admitted(() => ({ cgroups: tree.list() })),
    update: admitted<zone.agent.v1.UpdateCgroupRequest, zone.agent.v1.UpdateCgroupResponse.$Properties>(
      ({ path, resources }) => ({ resources: tree.update(path, resources ?? {}) }),
    ),
    stats: admitted<zone.agent.v1.CgroupStatsRequest, zone.agent.v1.CgroupStats.$Properties>(({ path }) =>
      tree.stats(path),
    ),
    freeze: admitted<zone.agent.v1.FreezeCgroupRequest, object>(({ path }, signal) =>
      tree.setFrozen(path, true, signal).then(nothing),
    ),
    thaw: admitted<zone.agent.v1.ThawCgroupRequest, object>(({ path }, signal) =>
      tree.setFrozen(path, false, signal).then(nothing),
    ),
    kill: admitted<zone.agent.v1.KillCgroupRequest, object>(({ path }) => {
      tree.kill(path);
      return {};
    }),
    delete: admitted<zone.agent.v1.DeleteCgroupRequest, object>(({ path }) => {
      tree.delete(path);
      return {};
    }),
    watch: streamHandler((call) => {
      admit();
      const { path } = call.request;
      if (path !== "") tree.check(path);
      const wanted = (each: string) => path === "" || each === path || each.startsWith(`${path}/`);
      const { subscription, sequence, at } = news.subscribe();
      call.write({ sequence, time: toTimestamp(at), path, subscribed: {} });
      const next = (): zone.agent.v1.CgroupEvent.$Properties | undefined => {
        for (;;) {
          const delivery = subscription.next();
          if (!delivery) return undefined;
          const place = { sequence: delivery.sequence, time: toTimestamp(delivery.at) };
          if ("lost" in delivery) return { ...place, path, lost: { count: delivery.lost } };
          if (wanted(delivery.event.path)) return { ...place, ...delivery.event };
        }
      };
      return writeFrom(call, next, (wake) => {
        subscription.onEvent = wake;
        return () => subscription.end();
      });
    }),
  };
}
