import { closeSync, constants, openSync, readSync } from "node:fs";
import { errnoOf } from "../errors.js";
import { CGROUP_LIMITS } from "./limits.js";
import { pathOfKernelName } from "./path.js";

/** A process that the OOM killer took, as OomVictim of cgroup.proto. */
export interface OomVictim {
  pid: number;
  command: string;
  anonymousBytes: number;
  fileBytes: number;
  sharedBytes: number;
}

/** "oom-kill:constraint=...,task_memcg=/zone/web,task=cc1,pid=123,uid=0"; a command may hold anything but a line end. */
const CHOSEN = /^oom-kill:.*,task_memcg=([^,]*),task=(.*),pid=(\d+),uid=\d+$/;
/** "Memory cgroup out of memory: Killed process 123 (cc1) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB, UID:0 ..." */
const KILLED = /Killed process (\d+) \((.*)\) total-vm:\d+kB, anon-rss:(\d+)kB, file-rss:(\d+)kB, shmem-rss:(\d+)kB/;

/**
 * Whom the kernel says that it has killed for want of memory, by cgroup; from /dev/kmsg
 * (Documentation/ABI/testing/dev-kmsg). The kernel rates these lines, so not every victim is named.
 */
export class OomLog {
  readonly #device: string;
  #fd: number | undefined;
  readonly #cgroupOf = new Map<number, string>();
  readonly #victims: { path: string; victim: OomVictim }[] = [];

  constructor(device = "/dev/kmsg") {
    this.#device = device;
  }

  /** The victims in the cgroup `path` that have not been asked for yet, the oldest first. */
  take(path: string): OomVictim[] {
    this.#readOn();
    const taken = this.#victims.filter((each) => each.path === path);
    for (const each of taken) this.#victims.splice(this.#victims.indexOf(each), 1);
    return taken.map(({ victim }) => victim);
  }

  /** Takes up one record of /dev/kmsg: "PRIORITY,SEQUENCE,TIME,FLAGS;TEXT", then lines of a dictionary. */
  record(record: string): void {
    const semicolon = record.indexOf(";");
    // Facility 0 is the kernel's own; what user space writes gets another.
    if (semicolon < 0 || Number.parseInt(record, 10) >> 3 !== 0) return;
    const text = record.slice(semicolon + 1).split("\n", 1)[0] ?? "";
    const chosen = CHOSEN.exec(text);
    if (chosen) {
      const path = pathOfKernelName(chosen[1] ?? "");
      if (path !== undefined) this.#remember(Number(chosen[3]), path);
      return;
    }
    const killed = KILLED.exec(text);
    if (!killed) return;
    const [, pid, command = "", anon, file, shared] = killed;
    const path = this.#cgroupOf.get(Number(pid));
    if (path === undefined) return;
    this.#cgroupOf.delete(Number(pid));
    const bytes = (kib: string | undefined) => Number(kib) * 1024;
    this.#victims.push({
      path,
      victim: {
        ...{ pid: Number(pid), command: command.slice(0, 16) },
        ...{ anonymousBytes: bytes(anon), fileBytes: bytes(file), sharedBytes: bytes(shared) },
      },
    });
    if (this.#victims.length > CGROUP_LIMITS.victims) this.#victims.shift();
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #remember(pid: number, path: string): void {
    this.#cgroupOf.set(pid, path);
    const [oldest] = this.#cgroupOf.keys();
    if (this.#cgroupOf.size > CGROUP_LIMITS.victims && oldest !== undefined) this.#cgroupOf.delete(oldest);
  }

  /** Reads what has come; each read(2) gives one record. */
  #readOn(): void {
    const buffer = Buffer.allocUnsafe(CGROUP_LIMITS.kmsgRecordBytes);
    try {
      this.#fd ??= openSync(this.#device, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "EPERM") return; // not in a zone of ours
      throw error;
    }
    for (;;) {
      try {
        const length = readSync(this.#fd, buffer);
        if (length === 0) return;
        this.record(buffer.toString("latin1", 0, length));
      } catch (error) {
        if (errnoOf(error) === "EAGAIN") return;
        if (errnoOf(error) !== "EPIPE") throw error; // EPIPE: records were overwritten; the next read goes on after them
      }
    }
  }
}
