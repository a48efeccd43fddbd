import { mkdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTimeOf } from "./qemu-process.js";
import { DriverScratch, running } from "./testing/driver-scratch.js";
import { zoneImageDirectory } from "./testing/guest-image.js";

const MIB = 2 ** 20;

describe.skipIf(zoneImageDirectory() === undefined)("a domain's devices", () => {
  let scratch: DriverScratch;
  let volume: string;
  beforeAll(async () => {
    scratch = await DriverScratch.make();
    volume = join(scratch.directory, "volume");
  });
  afterEach(async () => {
    await scratch.destroyDomains();
    expect(await scratch.leftovers()).toEqual([]);
  });
  afterAll(() => scratch.remove());

  /** An empty volume, a file of 8 MiB. */
  async function emptyVolume(): Promise<void> {
    await writeFile(volume, "", { mode: 0o600 });
    await truncate(volume, 8 * MIB);
  }

  const start = async () => (await readFile(volume)).subarray(0, 8).toString("latin1").replace(/\0.*/s, "");

  it("has a volume that is written through to the host's file, and keeps it beyond the VMM's death", async () => {
    await emptyVolume();
    const driver = scratch.driver();
    const disks = [
      { path: scratch.diskPath, serial: "w0" },
      { path: volume, serial: "v1", readOnly: false },
    ];
    const domain = await scratch.create(driver, { disks });
    const link = await running(domain);
    expect(await link.ask("write v1 first")).toBe("done");
    await expect(scratch.create(driver, { disks: disks.slice(1) }), "twice").rejects.toMatchObject({
      reason: "VOLUME_IN_USE",
    });
    process.kill(domain.record.pid, "SIGKILL");
    await domain.ended;
    expect(await start()).toBe("first");
    const next = await scratch.create(driver, { disks });
    expect(await (await running(next)).ask("disk v1")).toMatch(/ 16384 first$/);
  });

  it("gets a volume while it runs, learns that it has grown, and lets it go", async () => {
    await emptyVolume();
    const driver = scratch.driver();
    const domain = await scratch.create(driver);
    const link = await running(domain);
    await domain.attachDisk({ serial: "v1", path: volume, readOnly: false });
    expect(await link.ask("write v1 hello")).toBe("done");
    await truncate(volume, 16 * MIB);
    await domain.resizeDisk("v1", 16 * MIB);
    expect(await link.ask("disk v1")).toMatch(/ 32768 hello$/);
    await expect(domain.attachDisk({ serial: "v1", path: scratch.diskPath })).rejects.toMatchObject({
      reason: "VOLUME_IN_USE",
    });
    await domain.detachDisk("v1");
    expect(await link.ask("gone v1")).toBe("gone");
    expect(await start()).toBe("hello");
    await domain.attachDisk({ serial: "v1", path: volume });
    expect(await link.ask("write v1 no")).not.toBe("done");
    await domain.detachDisk("v1");
    await expect(domain.detachDisk("v1")).rejects.toMatchObject({ reason: "VOLUME_UNKNOWN" });
    await expect(domain.resizeDisk("v1", MIB)).rejects.toMatchObject({ reason: "VOLUME_UNKNOWN" });
    await expect(domain.attachDisk({ serial: "no,comma", path: volume })).rejects.toMatchObject({
      reason: "INVALID_DEVICE",
    });
    await expect(domain.attachDisk({ serial: "v2", path: "/no/such/file" })).rejects.toMatchObject({
      reason: "FILE_UNREADABLE",
    });
  });

  it("reaches the network as a process of the host's, whose death it survives", async () => {
    const address = Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === "IPv4" && !each.internal)?.address;
    if (!address) return; // a host without a network
    const server = await greeting(address);
    try {
      const domain = await scratch.create(scratch.driver(), { network: { kind: "user" } });
      expect(domain.networkFacts()).toMatchObject({
        hardwareAddress: "02:7a:6e:65:00:01",
        addresses: expect.arrayContaining(["10.0.2.15/24"]),
        nameservers: ["10.0.2.3"],
      });
      const link = await running(domain);
      expect(await link.ask(`reach ${address} ${portOf(server)}`)).toBe("welcome");
      const { companions } = JSON.parse(await readFile(join(domain.record.directory, "domain.json"), "utf8"));
      const passt = companions.find(({ name }: { name: string }) => name === "passt");
      expect((await stat(`/proc/${passt.pid}`)).uid).toBe(passt.uid);
      process.kill(passt.pid, "SIGKILL");
      while (domain.networkFacts()) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await link.ask("ping")).toBe("pong");
      expect((await domain.console()).toString()).toContain(
        "[bridge: the zone's network is gone: passt ended by SIGKILL",
      );
      await domain.destroy();
      for (const { pid, startTime } of companions) expect(await startTimeOf(pid)).not.toBe(startTime);
    } finally {
      server.close();
    }
  });

  it("is refused a network without passt, and has none unless asked for", async () => {
    const made = scratch.create(scratch.driver({ passt: "no-such-passt" }), { network: { kind: "user" } });
    await expect(made).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "PASST_MISSING" });
    expect((await scratch.create(scratch.driver())).networkFacts()).toBeUndefined();
  });

  it("sees folders of the host, writable or not as the host says", async () => {
    const [free, fixed] = [join(scratch.directory, "free"), join(scratch.directory, "fixed")];
    for (const path of [free, fixed]) {
      await mkdir(path, { recursive: true });
      await writeFile(join(path, "hello"), "from the host");
    }
    const shares = [
      { path: free, tag: "free", readOnly: false },
      { path: fixed, tag: "fixed", readOnly: true },
    ];
    const domain = await scratch.create(scratch.driver(), { shares, maxMemoryBytes: 512 * MIB });
    expect(domain.cloned).toBe(true);
    expect(domain.shareFacts()).toEqual([
      { tag: "free", type: "virtiofs", readOnly: false },
      { tag: "fixed", type: "virtiofs", readOnly: true },
    ]);
    const link = await running(domain);
    expect(await link.ask("share free")).toBe("from the host, made");
    expect(await link.ask("share fixed")).toBe("from the host, Read-only file system");
    await stat(join(free, "made"));
    await expect(stat(join(fixed, "made"))).rejects.toThrow("ENOENT");
    expect(await domain.setMemory(256 * MIB)).toBe(256 * MIB);
    expect(await link.ask("share free")).toBe("from the host, made");
  });

  it.each([
    ["what is not there", { path: "/no/such/folder" }, {}, "SOURCE_NOT_FOUND"],
    ["a file", { path: "/etc/passwd" }, {}, "INVALID_MOUNT"],
    ["want of virtiofsd", { path: "/etc" }, { virtiofsd: "/no/virtiofsd" }, "VIRTIOFSD_MISSING"],
  ])("is refused a share for %s", async (_what, share, options, reason) => {
    const shares = [{ tag: "t", readOnly: true, ...share }];
    await expect(scratch.create(scratch.driver(options), { shares })).rejects.toMatchObject({ reason });
  });

  it("grows and shrinks within its bounds, and gives back what it does not use", async () => {
    const more = { maxMemoryBytes: 300 * MIB, maxVcpus: 2 };
    const domain = await scratch.create(scratch.driver(), more);
    const link = await running(domain);
    const [before = 0, cpus] = (await link.ask("grow")).split(" ").map(Number);
    expect(cpus).toBe(1);
    const { privateBytes } = await domain.stats();
    expect(await link.ask("use 48")).toBe("done");
    // Free page reporting takes a few seconds; the balloon does it now.
    expect(await domain.setMemory(96 * MIB)).toBe(96 * MIB);
    expect(await domain.setMemory(128 * MIB)).toBe(128 * MIB);
    expect((await domain.stats()).privateBytes).toBeLessThan(privateBytes + 40 * MIB);
    expect(await domain.setMemory(200 * MIB)).toBe(256 * MIB);
    expect(await domain.setVcpus(2)).toBe(2);
    let grown = [0, 0];
    while ((grown[1] ?? 0) < 2 || (grown[0] ?? 0) < before + 100)
      grown = (await link.ask("grow")).split(" ").map(Number);
    expect(await domain.setMemory(128 * MIB)).toBe(128 * MIB);
    expect(await link.ask("ping")).toBe("pong");
    expect(await domain.setMemory(256 * MIB)).toBe(256 * MIB);
    expect(await domain.setVcpus(1)).toBe(2);
    await expect(domain.setVcpus(3)).rejects.toMatchObject({ reason: "INVALID_CPUS" });
    await expect(domain.setMemory(301 * MIB)).rejects.toMatchObject({ reason: "INVALID_MEMORY" });
    expect(await domain.setMemory(300 * MIB)).toBe(256 * MIB);
    const { cpuUs, pssBytes } = await domain.stats();
    expect(cpuUs).toBeGreaterThan(0);
    expect(pssBytes).toBeGreaterThan(0);
  });
});

/** A TCP server that says "welcome" and closes. */
async function greeting(address: string): Promise<Server> {
  const server = createServer((socket) => socket.on("error", () => {}).end("welcome")); // its other end may be killed
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}
