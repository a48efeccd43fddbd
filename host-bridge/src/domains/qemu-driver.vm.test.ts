import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Domain, DomainConfig, ProgressFn } from "./driver.js";
import { QemuDriver, type QemuDriverOptions } from "./qemu-driver.js";
import { startTimeOf } from "./qemu-process.js";
import { makeGuestImage, zoneImageDirectory } from "./testing/guest-image.js";
import { GuestLink, warmUpGuest } from "./testing/guest-link.js";

const MIB = 2 ** 20;
const image = zoneImageDirectory();
const never = new AbortController().signal;
const quiet: ProgressFn = () => {};

/** Domains by a driver on a guest of our own; templates are shared by the tests of the file, as they are by zones. */
describe.skipIf(image === undefined)("QemuDriver", () => {
  let scratch: string;
  let run: string;
  let guestImage: string;
  let diskPath: string;
  let domains: Domain[];

  beforeAll(async () => {
    scratch = await mkdtemp("/tmp/zone-qemu-");
    guestImage = await makeGuestImage(image ?? "", join(scratch, "image"));
    diskPath = join(scratch, "disk");
    await writeFile(diskPath, "WORKLOAD-IMAGE-0", { mode: 0o600 });
    await truncate(diskPath, 8 * MIB);
  });

  afterAll(() => rm(scratch, { recursive: true, force: true }));

  beforeEach(async () => {
    run = await mkdtemp(join(scratch, "run-"));
    domains = [];
  });

  afterEach(async () => {
    await Promise.all(domains.map((domain) => domain.destroy()));
    if (existsSync(join(run, "domains"))) expect(await readdir(join(run, "domains"))).toEqual([]);
  });

  function driver(more: Partial<QemuDriverOptions> = {}): QemuDriver {
    return new QemuDriver({
      stateDirectory: join(scratch, "state"),
      runDirectory: run,
      imageDirectory: guestImage,
      warmUp: warmUpGuest,
      accelerator: "tcg",
      ...more,
    });
  }

  async function create(made: QemuDriver, more: Partial<DomainConfig> = {}, progress = quiet): Promise<Domain> {
    const config = { id: `zone${domains.length}`, memoryBytes: 128 * MIB, vcpus: 1, disks: [], cold: false, ...more };
    const domain = await made.create(config, progress, never);
    domains.push(domain);
    return domain;
  }

  /** The domain's link, its guest running and answering. */
  async function running(domain: Domain): Promise<GuestLink> {
    const link = await GuestLink.open(domain.record.link);
    await domain.resume();
    expect(await link.ask("ping")).toBe("pong");
    return link;
  }

  it("boots a kernel with all disks, powers off from inside, and leaves nothing", async () => {
    const disks = ["w0", "w1"].map((serial) => ({ path: diskPath, serial }));
    const domain = await create(driver(), { cold: true, disks });
    expect(domain.cloned).toBe(false);
    const link = await running(domain);
    expect(await link.ask("disk w0")).toBe("vdb 16384 WORKLOAD-IMAGE-0");
    expect(await link.ask("disk w1")).toBe("vdc 16384 WORKLOAD-IMAGE-0");
    link.tell("off");
    expect(await domain.ended).toEqual({ cause: "powered-off" });
    expect(existsSync(domain.record.directory)).toBe(false);
    expect(await startTimeOf(domain.record.pid)).toBeUndefined();
    await expect(domain.resume()).rejects.toMatchObject({ reason: "DOMAIN_ENDED" });
  });

  it("clones a template, with a disk in the placeholder and another one plugged in", async () => {
    const messages: string[] = [];
    const made = driver();
    const first = await create(made, { disks: [{ path: diskPath, serial: "w0" }] }, (_phase, message) =>
      messages.push(message),
    );
    expect(messages).toEqual(["booting a zone of 128 MiB to clone from", "saving it"]);
    const second = await create(made, { disks: ["w0", "w1"].map((serial) => ({ path: diskPath, serial })) });
    expect([first.cloned, second.cloned]).toEqual([true, true]);
    const links = [await running(first), await running(second)];
    for (const link of links) expect(await link.ask("disk w0")).toMatch(/ WORKLOAD-IMAGE-0$/);
    expect(await links[1]?.ask("disk w1")).toMatch(/ 16384 WORKLOAD-IMAGE-0$/);
  });
});
