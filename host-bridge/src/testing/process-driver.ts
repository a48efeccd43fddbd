import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type {
  Domain,
  DomainConfig,
  DomainDriver,
  DomainEnd,
  DomainRecord,
  DomainStats,
  NetworkFacts,
  ShareFacts,
} from "../domains/driver.js";
import { unsupported } from "../domains/unsupported.js";
import { bridgeError } from "../errors.js";

export interface ProcessDriverOptions {
  /** A folder for each domain is made in it. */
  directory: string;
  /** native/build/zone-init. */
  init: string;
  /** The agent's bundle, or its compiled main module. */
  agent: string;
  env?: NodeJS.ProcessEnv;
}

const POLL_MS = 50;
const TERM_GRACE_MS = 5000;

/**
 * "Domains" that are processes of this host: the real PID 1 and the real agent with a Unix socket as link, without a VM.
 * For tests and development: nothing is isolated, and devices, shares and the network of a
 * config are not looked at.
 */
export class ProcessDriver implements DomainDriver {
  readonly name = "process";
  readonly #options: ProcessDriverOptions;

  constructor(options: ProcessDriverOptions) {
    this.#options = options;
  }

  async create(config: DomainConfig): Promise<Domain> {
    const { init, agent, env } = this.#options;
    const directory = join(this.#options.directory, config.id);
    await mkdir(join(directory, "run"), { recursive: true });
    const link = `unix:${join(directory, "agent.sock")}`;
    const output = openSync(join(directory, "console"), "a");
    // Detached, with files for its output: it outlives the bridge.
    // A hostname of its own: the agent sets it. unshare(1) becomes PID 1's stand-in by exec, so the pid is the right one.
    const child = spawn("unshare", ["--uts", init, "--foreground", "--", process.execPath, agent], {
      detached: true,
      stdio: ["ignore", output, output],
      env: {
        PATH: "/usr/bin:/bin",
        HOME: "/root",
        ZONE_RUN: join(directory, "run"),
        ZONE_CGROUPS: join(directory, "no-cgroups"),
        ...env,
        ZONE_CMDLINE: `zone.link=${link} zone.image=none`,
      },
    });
    closeSync(output);
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    await Promise.race([failed, new Promise((resolve) => child.once("spawn", resolve))]);
    child.unref();
    const pid = child.pid ?? 0;
    const pidStartTime = (await startTime(pid)) ?? "";
    const record = { driver: "process", pid, pidStartTime, accelerator: "none", directory, link, uid: 0 };
    return new ProcessDomain(record);
  }

  async adopt(record: DomainRecord): Promise<Domain | undefined> {
    if (record.driver !== this.name)
      throw bridgeError("FAILED_PRECONDITION", "NO_HYPERVISOR", `no driver ${record.driver}`);
    if ((await startTime(record.pid)) === record.pidStartTime) return new ProcessDomain(record);
    await rm(record.directory, { recursive: true, force: true });
    return undefined;
  }
}

class ProcessDomain implements Domain {
  readonly cloned = false;
  readonly ended: Promise<DomainEnd>;
  #destroyed = false;

  constructor(readonly record: DomainRecord) {
    this.ended = this.#watch();
  }

  /** Its PID 1 and agent stand still while it is paused; what they have started runs on. */
  async resume(): Promise<void> {
    this.#kill("SIGCONT", true);
  }
  async pause(): Promise<void> {
    this.#kill("SIGSTOP", true);
  }

  async attachDisk(): Promise<void> {
    throw unsupported("get a disk");
  }
  async detachDisk(): Promise<void> {
    throw unsupported("lose a disk");
  }
  async resizeDisk(): Promise<void> {
    throw unsupported("have a disk resized");
  }
  /** It has all that the host has. */
  async setMemory(bytes: number): Promise<number> {
    return bytes;
  }
  async setVcpus(count: number): Promise<number> {
    return count;
  }

  /** Zeros: its processes are the host's. */
  async stats(): Promise<DomainStats> {
    return { cpuUs: 0, pssBytes: 0, privateBytes: 0 };
  }

  networkFacts(): NetworkFacts | undefined {
    return undefined;
  }

  guestAddress(): string | undefined {
    return undefined;
  }

  shareFacts(): ShareFacts[] {
    return [];
  }

  console(): Promise<Buffer> {
    return readFile(join(this.record.directory, "console")).catch(() => Buffer.alloc(0));
  }

  async destroy(): Promise<void> {
    this.#destroyed = true;
    this.#kill("SIGTERM");
    this.#kill("SIGCONT", true);
    const killing = setTimeout(() => this.#kill("SIGKILL"), TERM_GRACE_MS);
    await this.ended;
    clearTimeout(killing);
    await rm(this.record.directory, { recursive: true, force: true });
  }

  #kill(signal: NodeJS.Signals, group = false): void {
    try {
      process.kill(group ? -this.record.pid : this.record.pid, signal);
    } catch {
      // It has ended, which #watch sees.
    }
  }

  async #watch(): Promise<DomainEnd> {
    while ((await startTime(this.record.pid)) === this.record.pidStartTime) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS).unref());
    }
    return this.#destroyed ? { cause: "destroyed" } : { cause: "powered-off" };
  }
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process, or only its zombie. proc(5). */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
