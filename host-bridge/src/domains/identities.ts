import { readdir, stat } from "node:fs/promises";
import { bridgeError } from "../errors.js";
import type { Identity } from "./qemu-process.js";

/** Where the users of VMMs begin: above 16-bit users, systemd's dynamic ones and usual subordinate ranges. */
export const DEFAULT_UID_BASE = 0x60000000;
const SLOTS = 0x10000;

/** Hands out users for VMMs: one that nothing on this host runs as, so also not another bridge's domain. */
export class Identities {
  readonly #base: number;
  readonly #taken = new Set<number>();
  #next = Math.floor(Math.random() * SLOTS);

  constructor(base: number) {
    this.#base = base;
  }

  /** A free user; RESOURCE_EXHAUSTED/TOO_MANY_ZONES. */
  async take(): Promise<Identity> {
    const running = await usersOfProcesses();
    for (let tried = 0; tried < SLOTS; tried++) {
      const uid = this.#base + this.#next;
      this.#next = (this.#next + 1) % SLOTS;
      if (running.has(uid) || this.#taken.has(uid)) continue;
      this.#taken.add(uid);
      return { uid, gid: uid };
    }
    throw bridgeError("RESOURCE_EXHAUSTED", "TOO_MANY_ZONES", `all ${SLOTS} users from ${this.#base} on run a zone`);
  }

  /** Of a domain that is taken up. */
  claim(uid: number): void {
    this.#taken.add(uid);
  }

  release(uid: number): void {
    this.#taken.delete(uid);
  }
}

/** The owners of /proc/PID: effective users of all processes (root for those that are not dumpable, which no VMM is). */
async function usersOfProcesses(): Promise<Set<number>> {
  const users = new Set<number>();
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  await Promise.all(
    pids.map(async (pid) => {
      try {
        users.add((await stat(`/proc/${pid}`)).uid);
      } catch {
        // It has ended meanwhile.
      }
    }),
  );
  return users;
}
