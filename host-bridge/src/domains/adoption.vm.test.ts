import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CompanionRecord } from "./companions.js";
import { readState } from "./domain-state.js";
import type { Domain, DomainConfig, DomainDisk, DomainRecord } from "./driver.js";
import { startTimeOf } from "./qemu-process.js";
import { DriverScratch, running } from "./testing/driver-scratch.js";
import { zoneImageDirectory } from "./testing/guest-image.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const compiled = here.replace("/host-bridge/src/", "/host-bridge/dist/");

/** Makes two domains with a bridge in a process of its own (compiled code), and kills that bridge. */
async function leftByKilledBridge(
  scratch: DriverScratch,
  more: Partial<DomainConfig> = {},
  disk?: DomainDisk,
): Promise<DomainRecord[]> {
  const options = {
    stateDirectory: join(scratch.directory, "state"),
    runDirectory: join(scratch.directory, "run"),
    imageDirectory: scratch.image,
    accelerator: "tcg",
  };
  const modules = [join(compiled, "qemu-driver.js"), join(compiled, "testing/guest-link.js")];
  const args = [join(here, "testing/bridge-that-dies.mjs"), ...modules, JSON.stringify(options), JSON.stringify(more)];
  if (disk) args.push(JSON.stringify(disk));
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const line = once(createInterface(child.stdout), "line");
  const [records] = await Promise.race([
    line,
    exited.then(() => Promise.reject(new Error("the bridge died by itself"))),
  ]);
  child.kill("SIGKILL");
  await exited;
  return JSON.parse(String(records));
}

async function companionsOf({ directory }: DomainRecord): Promise<CompanionRecord[]> {
  return (await readState(directory))?.companions ?? [];
}

describe.skipIf(zoneImageDirectory() === undefined)("a killed bridge", () => {
  let scratch: DriverScratch;
  beforeAll(async () => {
    scratch = await DriverScratch.make();
  });
  afterAll(async () => {
    await scratch.destroyDomains();
    expect(await scratch.leftovers()).toEqual([]);
    await scratch.remove();
  });

  it("leaves domains that the next one takes up; those that it does not know are ended by its first create", async () => {
    const [kept, stray] = await leftByKilledBridge(scratch);
    if (!kept || !stray) throw new Error("no records");
    const driver = scratch.driver();
    const domain = await driver.adopt(kept);
    expect(domain?.record).toEqual(kept);
    const link = await running(domain as Domain);
    expect(await link.ask("flood 1")).toBe("done");
    link.tell("panic");
    expect((await domain?.ended)?.cause).toBe("panicked");
    expect((await domain?.console())?.toString()).toContain("fffff");
    expect(existsSync(kept.directory)).toBe(false);

    expect(await startTimeOf(stray.pid)).toBe(stray.pidStartTime);
    await scratch.create(driver);
    expect(await startTimeOf(stray.pid)).toBeUndefined();
    expect(existsSync(stray.directory)).toBe(false);
  });

  it("leaves volumes, shares and a network that go on, and are taken along when their domain ends", async () => {
    const volume = join(scratch.directory, "volume");
    const share = join(scratch.directory, "share");
    await mkdir(share);
    await writeFile(volume, Buffer.alloc(1 << 20));
    await writeFile(join(share, "hello"), "from the host");
    const disk = { serial: "v1", path: volume, readOnly: false };
    const shares = [{ tag: "s", path: share, readOnly: true }];
    const more: Partial<DomainConfig> = { network: { kind: "user" }, shares, maxMemoryBytes: 256 << 20 };
    const [kept, stray] = await leftByKilledBridge(scratch, more, disk);
    if (!kept || !stray) throw new Error("no records");
    const companions = [...(await companionsOf(kept)), ...(await companionsOf(stray))];
    expect(companions.length).toBeGreaterThanOrEqual(2);
    const driver = scratch.driver();
    const domain = await driver.adopt(kept);
    if (!domain) throw new Error("it was not taken up");
    const link = await running(domain);
    expect(domain.networkFacts()?.mtu ?? 65520).toBe(65520);
    expect(domain.shareFacts()).toEqual([{ tag: "s", type: "virtiofs", readOnly: true }]);
    expect(await link.ask("share s")).toBe("from the host, Read-only file system");
    const again = { serial: "v2", path: volume };
    await expect(domain.attachDisk(again)).rejects.toMatchObject({ reason: "VOLUME_IN_USE" });
    expect(await link.ask("write v1 hello")).toBe("done");
    await domain.detachDisk("v1");
    expect(await domain.setMemory(256 << 20)).toBe(256 << 20);
    await scratch.create(driver);
    await domain.destroy();
    for (const { pid, startTime } of companions) {
      while ((await startTimeOf(pid)) === startTime) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  it("leaves nothing to adopt when the VMM is gone, its pid is another's, or it does not answer", async () => {
    const [gone, hanging] = await leftByKilledBridge(scratch);
    if (!gone || !hanging) throw new Error("no records");
    const driver = scratch.driver();
    const another = { ...gone, directory: join(scratch.directory, "run/domains/another"), pidStartTime: "1" };
    await mkdir(another.directory);
    expect(await driver.adopt(another)).toBeUndefined();
    expect(existsSync(another.directory)).toBe(false);
    expect(await startTimeOf(gone.pid)).toBe(gone.pidStartTime);

    process.kill(gone.pid, "SIGKILL");
    expect(await driver.adopt(gone)).toBeUndefined();
    process.kill(hanging.pid, "SIGSTOP");
    expect(await driver.adopt(hanging)).toBeUndefined();
    expect(await startTimeOf(hanging.pid)).toBeUndefined();
    expect(existsSync(hanging.directory)).toBe(false);
  });
});
