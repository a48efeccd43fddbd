import { existsSync, type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import type { zone } from "@zone/proto";
import { readFlat } from "./control-file.js";
import { CGROUP_LIMITS } from "./limits.js";
import type { OomLog, OomVictim } from "./oom-log.js";

/** An event of one cgroup, named as CgroupEvent of cgroup.proto has it. */
export type CgroupNews = { path: string } & Pick<
  zone.agent.v1.CgroupEvent.$Properties,
  "oomKill" | "memoryHigh" | "populated" | "pidsRefused"
>;

/** What the event files of a cgroup said last. */
interface Seen {
  oomKills: number;
  high: number;
  pidsRefused: number;
  populated: boolean;
}

const FILES = ["memory.events.local", "pids.events", "cgroup.events"] as const;

/**
 * Watches the event files of cgroups by inotify(7), which the kernel notifies when one changes
 * (Documentation/admin-guide/cgroup-v2.rst). Several changes can come as one notification: so what is told is by how much a
 * counter has grown, and nothing is lost.
 */
export class CgroupWatcher {
  readonly #root: string;
  readonly #oomLog: OomLog;
  readonly #onNews: (news: CgroupNews) => void;
  readonly #watched = new Map<string, { seen: Seen; watchers: FSWatcher[] }>();

  /** `root` is the zone's own cgroup. */
  constructor(root: string, oomLog: OomLog, onNews: (news: CgroupNews) => void) {
    this.#root = root;
    this.#oomLog = oomLog;
    this.#onNews = onNews;
  }

  /** From now on; what happened before is not told. */
  watch(path: string): void {
    if (this.#watched.has(path) || this.#watched.size >= CGROUP_LIMITS.cgroups) return;
    const folder = join(this.#root, path);
    const watchers: FSWatcher[] = [];
    this.#watched.set(path, { seen: look(folder), watchers });
    for (const file of FILES) {
      if (!existsSync(join(folder, file))) continue;
      const watcher = watch(join(folder, file), { persistent: false }, () => this.look(path));
      watcher.on("error", () => watcher.close()); // the cgroup is gone
      watchers.push(watcher);
    }
  }

  forget(path: string): void {
    for (const watcher of this.#watched.get(path)?.watchers ?? []) watcher.close();
    this.#watched.delete(path);
  }

  /** Tells what has changed since the last look: also for who cannot wait for the notification, such as the end of a process. */
  look(path: string): void {
    const watched = this.#watched.get(path);
    if (!watched) return;
    const before = watched.seen;
    const now = look(join(this.#root, path));
    watched.seen = now;
    if (now.oomKills > before.oomKills) {
      const victims: OomVictim[] = this.#oomLog.take(path);
      this.#onNews({ path, oomKill: { count: now.oomKills - before.oomKills, victims } });
    }
    if (now.high > before.high) this.#onNews({ path, memoryHigh: { count: now.high - before.high } });
    if (now.pidsRefused > before.pidsRefused) {
      this.#onNews({ path, pidsRefused: { count: now.pidsRefused - before.pidsRefused } });
    }
    if (now.populated !== before.populated) this.#onNews({ path, populated: { populated: now.populated } });
  }

  close(): void {
    for (const path of [...this.#watched.keys()]) this.forget(path);
    this.#oomLog.close();
  }
}

function look(folder: string): Seen {
  const memory = readFlat(folder, "memory.events.local");
  return {
    oomKills: memory.get("oom_kill") ?? 0,
    high: memory.get("high") ?? 0,
    pidsRefused: readFlat(folder, "pids.events").get("max") ?? 0,
    populated: readFlat(folder, "cgroup.events").get("populated") === 1,
  };
}

/** Settles when cgroup.events says `value` for `key`; rejects when `signal` aborts. */
export function whenCgroupIs(
  folder: string,
  key: "frozen" | "populated",
  value: boolean,
  signal: AbortSignal,
): Promise<void> {
  const there = () => (readFlat(folder, "cgroup.events").get(key) === 1) === value;
  if (there()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const watcher = watch(join(folder, "cgroup.events"), { persistent: false });
    const end = (settle: () => void) => {
      watcher.close();
      signal.removeEventListener("abort", cancel);
      settle();
    };
    const check = () => {
      if (there()) end(resolve);
    };
    const cancel = () => end(() => reject(signal.reason));
    watcher.on("change", check);
    watcher.on("error", (error) => end(() => reject(error)));
    signal.addEventListener("abort", cancel);
    if (signal.aborted) cancel();
    else check(); // it may have changed before the watch began
  });
}
