import { existsSync, type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import type { zone } from "@zone/proto";
import { describe, errnoOf } from "../errors.js";
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

/** Without inotify: how often is looked. */
const LOOK_MS = 20;

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
  readonly #trouble: (message: string) => void;
  readonly #watched = new Map<string, { seen: Seen; watchers: FSWatcher[] }>();

  /** `root` is the zone's own cgroup. `trouble` hears of cgroups that cannot be watched. */
  constructor(root: string, oomLog: OomLog, onNews: (news: CgroupNews) => void, trouble: (message: string) => void) {
    this.#root = root;
    this.#oomLog = oomLog;
    this.#onNews = onNews;
    this.#trouble = trouble;
  }

  /**
   * From now on; what happened before is not told. Never throws: when the zone's inotify instances or watches are used up
   * (EMFILE, ENOSPC) there are no events of that cgroup.
   */
  watch(path: string): void {
    if (this.#watched.has(path) || this.#watched.size >= CGROUP_LIMITS.cgroups) return;
    const folder = join(this.#root, path);
    const watchers: FSWatcher[] = [];
    try {
      this.#watched.set(path, { seen: look(folder), watchers });
      for (const file of FILES) {
        if (!existsSync(join(folder, file))) continue;
        const watcher = watch(join(folder, file), { persistent: false }, () => this.look(path));
        watcher.on("error", () => watcher.close()); // the cgroup is gone
        watchers.push(watcher);
      }
    } catch (error) {
      this.#trouble(`cgroup "${path}" has no events: ${describe(error)}`);
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

/** Settles when cgroup.events says `value` for `key`; rejects when `signal` aborts. Looks now and then where it cannot watch. */
export function whenCgroupIs(
  folder: string,
  key: "frozen" | "populated",
  value: boolean,
  signal: AbortSignal,
): Promise<void> {
  const there = () => (readFlat(folder, "cgroup.events").get(key) === 1) === value;
  if (there()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const notices = onChange(
      join(folder, "cgroup.events"),
      () => check(),
      (error) => end(() => reject(error)),
    );
    const end = (settle: () => void) => {
      notices.close();
      signal.removeEventListener("abort", cancel);
      settle();
    };
    const check = () => {
      if (there()) end(resolve);
    };
    const cancel = () => end(() => reject(signal.reason));
    signal.addEventListener("abort", cancel);
    if (signal.aborted) cancel();
    else check(); // it may have changed before the watch began
  });
}

/** Calls `changed` when a file may have, until it is closed. Throws when there is no such file. */
function onChange(path: string, changed: () => void, failed: (error: Error) => void): { close(): void } {
  try {
    const watcher = watch(path, { persistent: false });
    watcher.on("change", changed);
    watcher.on("error", failed);
    return watcher;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") throw error;
    const timer = setInterval(changed, LOOK_MS);
    return { close: () => clearInterval(timer) };
  }
}
