import { IN, Inotify, openInRoot } from "@zone/native";
import type { zone } from "@zone/proto";
import { O_PATH, withFd } from "../descriptors.js";
import { agentError, errnoOf } from "../errors.js";
import { procPath } from "./descriptors.js";
import { FILE_LIMITS } from "./limits.js";

type FileEvent = zone.agent.v1.FileEvent.$Properties;

const MASK =
  IN.CREATE |
  IN.MODIFY |
  IN.DELETE |
  IN.MOVED_FROM |
  IN.MOVED_TO |
  IN.ATTRIB |
  IN.DELETE_SELF |
  IN.MOVE_SELF |
  IN.EXCL_UNLINK;

/** What an event is called; the first that fits. */
const CHANGES: [mask: number, change: string][] = [
  [IN.CREATE, "created"],
  [IN.MODIFY, "modified"],
  [IN.DELETE | IN.DELETE_SELF | IN.UNMOUNT, "removed"],
  [IN.MOVED_FROM | IN.MOVED_TO | IN.MOVE_SELF, "moved"],
  [IN.ATTRIB, "attributes"],
];

/** Events of a file or directory that wait for their reader; when there are too many, the later ones are only counted. */
export class FileWatch {
  /** Called when there is something to take. */
  wake: () => void = () => {};
  readonly #inotify: Inotify;
  readonly #queue: FileEvent[] = [{ subscribed: {} }];
  #lost = 0;
  #over = false;

  /** Watches what is at a path, a link at its end followed. TOO_MANY_WATCHES. */
  constructor(root: number, path: string) {
    this.#inotify = withFd(openInRoot(root, path, O_PATH), (fd) => watchFd(fd));
    this.#inotify.onEvent = (mask, name) => this.#take(mask, name);
  }

  /** The next event; "end" when what was watched is gone. */
  next(): FileEvent | "end" | undefined {
    const event = this.#queue.shift();
    if (event) return event;
    if (this.#lost > 0) {
      const count = this.#lost;
      this.#lost = 0;
      return { lost: { count } };
    }
    return this.#over ? "end" : undefined;
  }

  close(): void {
    this.#inotify.close();
  }

  #take(mask: number, name: Buffer): void {
    const change = CHANGES.find(([bits]) => (mask & bits) !== 0)?.[1];
    if ((mask & IN.IGNORED) !== 0) this.#over = true;
    // The kernel does not say how many it has dropped: at least one.
    else if ((mask & IN.Q_OVERFLOW) !== 0) this.#lost += 1;
    else if (change === undefined) return;
    else if (this.#lost > 0 || this.#queue.length >= FILE_LIMITS.watchQueue) this.#lost += 1;
    else this.#queue.push({ changed: { name: name.toString(), change } });
    this.wake();
  }
}

function watchFd(fd: number): Inotify {
  try {
    return Inotify.watch(procPath(fd), MASK);
  } catch (error) {
    const errno = errnoOf(error) ?? "";
    if (errno !== "EMFILE" && errno !== "ENOSPC") throw error;
    const message = "the zone's kernel has no room for another watch (/proc/sys/fs/inotify)";
    throw agentError("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHES", message, { metadata: { errno }, cause: error });
  }
}
