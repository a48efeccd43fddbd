import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, readlink, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Domain, DomainConfig, ProgressFn } from "../driver.js";
import { QemuDriver, type QemuDriverOptions } from "../qemu-driver.js";
import { makeGuestImage, zoneImageDirectory } from "./guest-image.js";
import { GuestLink, warmUpGuest } from "./guest-link.js";

const MIB = 2 ** 20;

/** Folders, a guest image and a workload's disk for tests that make domains with the real QEMU. */
export class DriverScratch {
  readonly directory: string;
  readonly image: string;
  /** 8 MiB that begin with "WORKLOAD-IMAGE-0". */
  readonly diskPath: string;
  readonly #domains: Domain[] = [];
  #next = 0;

  static async make(): Promise<DriverScratch> {
    const directory = await mkdtemp("/tmp/zone-qemu-");
    const scratch = new DriverScratch(
      directory,
      await makeGuestImage(zoneImageDirectory() ?? "", join(directory, "image")),
    );
    await writeFile(scratch.diskPath, "WORKLOAD-IMAGE-0", { mode: 0o600 });
    await truncate(scratch.diskPath, 8 * MIB);
    return scratch;
  }

  private constructor(directory: string, image: string) {
    this.directory = directory;
    this.image = image;
    this.diskPath = join(directory, "disk");
  }

  /** A driver with the scratch's folders, emulated, unless said otherwise. */
  driver(more: Partial<QemuDriverOptions> = {}): QemuDriver {
    return new QemuDriver({
      stateDirectory: join(this.directory, "state"),
      runDirectory: join(this.directory, "run"),
      imageDirectory: this.image,
      warmUp: warmUpGuest,
      accelerator: "tcg",
      ...more,
    });
  }

  /** A domain of 128 MiB, unless said otherwise. */
  async create(
    driver: QemuDriver,
    more: Partial<DomainConfig> = {},
    progress: ProgressFn = () => {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Domain> {
    const id = `zone${this.#next++}`;
    const config = { id, memoryBytes: 128 * MIB, vcpus: 1, disks: [], cold: false, ...more };
    const domain = await driver.create(config, progress, signal);
    this.#domains.push(domain);
    return domain;
  }

  /** Destroys what the test has made. */
  async destroyDomains(): Promise<void> {
    await Promise.all(this.#domains.splice(0).map((domain) => domain.destroy()));
  }

  /** Folders of domains, processes in them, and unfinished templates: all that a failure could leave. */
  async leftovers(): Promise<string[]> {
    const domains = (await namesIn(join(this.directory, "run/domains"))).map((name) => `folder ${name}`);
    const templates = (await namesIn(join(this.directory, "state/templates"))).filter((name) => name.startsWith("."));
    const processes: string[] = [];
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => "");
      if (cwd.startsWith(join(this.directory, "run/domains"))) processes.push(`process ${pid} in ${cwd}`);
    }
    return [...domains, ...templates, ...processes];
  }

  async remove(): Promise<void> {
    await this.destroyDomains();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The domain's link, its guest resumed and answering. */
export async function running(domain: Domain): Promise<GuestLink> {
  const link = await GuestLink.open(domain.record.link);
  await domain.resume();
  if ((await link.ask("ping")) !== "pong") throw new Error("the guest does not answer as it should");
  return link;
}

/** Real, effective, saved and file-system uid of a process; proc(5). */
export async function uidsOf(pid: number): Promise<number[]> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return (/^Uid:\s+(.*)$/m.exec(status)?.[1] ?? "").split(/\s+/).map(Number);
}

async function namesIn(directory: string): Promise<string[]> {
  return existsSync(directory) ? readdir(directory) : [];
}
