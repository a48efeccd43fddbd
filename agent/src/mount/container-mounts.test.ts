import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MountLab } from "./testing/lab.js";

let lab: MountLab;
const busybox = (...argv: string[]) => ["/bin/busybox", ...argv].map((text) => Buffer.from(text));
const sh = (script: string) =>
  busybox("sh", "-c", `export PATH=/bin; busybox --install -s /bin 2>/dev/null; ${script}`);

beforeAll(async () => {
  lab = await MountLab.start();
  const root = join(lab.work, "img");
  for (const name of ["bin", "data/sub", "run", "var"]) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, "data/file"), "from the image", { mode: 0o640 });
  chownSync(join(root, "data/file"), 1000, 1001);
  utimesSync(join(root, "data/file"), 1000, 1_000_000);
  symlinkSync("/etc/passwd", join(root, "data/sub/link"));
  chownSync(join(root, "data"), 1000, 1000);
  mkdirSync(join(root, "large"));
  writeFileSync(join(root, "large/file"), Buffer.alloc(100_000, 1));
  symlinkSync("/run", join(root, "var/run"));
  symlinkSync("/nowhere", join(root, "dangling"));
  lab.image("img");
  await lab.agent.containers.create({ id: "c", rootfs: { blockSerial: "img", fsType: "erofs" } });
});
afterAll(() => lab.end());

const rootfs = (...names: string[]) => lab.run("containers/c/rootfs", ...names);
const mount = (spec: object) => lab.mounts.mount({ containerId: "c", mount: spec });
const unmount = (target: string, how: object = {}) => lab.mounts.unmount({ containerId: "c", target, ...how });

async function run(script: string): Promise<string> {
  const result = await lab.agent.exec({ spec: { containerId: "c", argv: sh(script) } }).result;
  expect(result.stderr.toString()).toBe("");
  return result.stdout.toString();
}

async function startInit(): Promise<() => Promise<void>> {
  await lab.agent.processes.start({
    spec: { id: "init", containerId: "c", init: true, argv: busybox("sleep", "6000") },
  });
  return async () => {
    await lab.agent.processes.signal({ id: "init", signal: 9 });
    await lab.agent.processes.wait({ id: "init" });
    await lab.agent.processes.delete({ id: "init" });
  };
}

/** Where the zone has mounts outside of containers. */
function zoneMounts(): string[] {
  const infos = readFileSync("/proc/self/mountinfo", "latin1")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  return infos.filter((target) => !target.includes("/run/containers/")).sort();
}

describe("before anything runs in a container", () => {
  it("mounts are made in its root, and targets when they are missing", async () => {
    await lab.mounts.mount({ mount: { type: "tmpfs", target: "z" } });
    writeFileSync(lab.run("mounts/z/conf"), "conf");
    await mount({ type: "tmpfs", target: "/new/deep/t", options: ["size=1m"] });
    await mount({ type: "bind", source: "zone:z/conf", target: "/etc/app/conf", options: ["ro"] });
    await mount({ type: "bind", source: "/data", target: "/var/run/data" });
    expect(readFileSync(rootfs("etc/app/conf"), "utf8")).toBe("conf");
    expect(readdirSync(rootfs("run/data"))).toEqual(["file", "sub"]);

    // The same place by another name.
    await expect(mount({ type: "tmpfs", target: "/run/data" })).rejects.toMatchObject({ reason: "MOUNT_EXISTS" });
    await expect(mount({ type: "tmpfs", target: "/data/file" })).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    await expect(mount({ type: "tmpfs", target: "/data/file/x" })).rejects.toMatchObject({
      reason: "TARGET_NOT_FOUND",
    });
    await expect(mount({ type: "tmpfs", target: "/dangling" })).rejects.toMatchObject({ reason: "TARGET_NOT_FOUND" });
    await expect(mount({ type: "bind", source: "zone:z/conf", target: "/data" })).rejects.toMatchObject({
      reason: "INVALID_MOUNT",
    });
    await expect(mount({ type: "bind", source: "/none", target: "/x/y" })).rejects.toMatchObject({
      reason: "SOURCE_NOT_FOUND",
    });
    const failing = mount({ type: "tmpfs", target: "/made/for/nothing", options: ["bad"] });
    await expect(failing).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    expect(["x", "made", "nowhere"].filter((name) => existsSync(rootfs(name)))).toEqual([]);

    const { mounts } = await lab.mounts.list({ containerId: "c" });
    expect(mounts?.[0]).toMatchObject({ target: "/", type: "overlay" });
    expect(mounts?.map(({ target }) => target)).toEqual(
      expect.arrayContaining(["/new/deep/t", "/etc/app/conf", "/run/data"]),
    );
    await unmount("/run/data"); // by its other name
    await expect(unmount("/var/run/data")).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
    for (const target of ["/new/deep/t", "/etc/app/conf"]) await unmount(target);
  });

  it("copy_up fills what is empty with what the image has", async () => {
    await mount({ type: "tmpfs", target: "/data", copyUp: true });
    const { mode, uid, gid, mtimeMs } = lstatSync(rootfs("data/file"));
    expect([mode & 0o7777, uid, gid, mtimeMs]).toEqual([0o640, 1000, 1001, 1_000_000_000]);
    expect(readFileSync(rootfs("data/file"), "utf8")).toBe("from the image");
    expect(readlinkSync(rootfs("data/sub/link"))).toBe("/etc/passwd");
    expect(lstatSync(rootfs("data")).uid).toBe(1000);
    await unmount("/data");

    await lab.mounts.mount({ mount: { type: "tmpfs", target: "full" } });
    writeFileSync(lab.run("mounts/full/own"), "");
    await mount({ type: "bind", source: "zone:full", target: "/data", copyUp: true, options: ["ro"] });
    expect(readdirSync(rootfs("data"))).toEqual(["own"]);
    await unmount("/data");
    await lab.mounts.mount({ mount: { type: "tmpfs", target: "small", options: ["size=4k"] } });
    const full = mount({ type: "bind", source: "zone:small", target: "/large", copyUp: true });
    await expect(full).rejects.toMatchObject({ reason: "FILES_TOO_LARGE" });
    expect(readdirSync(lab.run("mounts/small"))).toEqual([]);
    await lab.mounts.unmount({ target: "small" });
    await mount({ type: "bind", source: "zone:full", subdirectory: "empty", target: "/data", copyUp: true });
    expect(readdirSync(lab.run("mounts/full/empty"))).toEqual(["file", "sub"]);
    await unmount("/data");
  });
});

describe("while a container runs", () => {
  it("mounts come and go in it, on others as well", async () => {
    const end = await startInit();
    await mount({ type: "tmpfs", target: "/live", options: ["mode=1777"] });
    expect(await run("echo in > /live/x; grep -c ' /live ' /proc/self/mountinfo")).toBe("1\n");
    expect(readFileSync(rootfs("live/x"), "utf8")).toBe("in\n");
    await mount({ type: "bind", source: "zone:z", target: "/live/below", options: ["ro"] });
    expect(await run("cat /live/below/conf; touch /live/below/y 2>/dev/null || echo ' read-only'")).toBe(
      "conf read-only\n",
    );
    const { mounts } = await lab.mounts.list({ containerId: "c" });
    expect(mounts?.map(({ target }) => target)).toEqual(expect.arrayContaining(["/", "/proc", "/live", "/live/below"]));

    await expect(unmount("/live")).rejects.toMatchObject({
      reason: "MOUNT_BUSY",
      message: expect.stringContaining("/live/below"),
    });
    const user = lab.agent.exec({
      spec: { containerId: "c", argv: busybox("sleep", "6000"), cwd: "/live/below", id: "user" },
    });
    await user.opened;
    await expect(unmount("/live", { recursive: true })).rejects.toMatchObject({
      reason: "MOUNT_BUSY",
      message: expect.stringContaining("(busybox)"),
    });
    await lab.agent.processes.signal({ id: "user", signal: 9 });
    await user.result;
    await unmount("/live", { recursive: true });
    expect(await run("grep -c ' /live' /proc/self/mountinfo || true")).toBe("0\n");

    // What the container mounts itself is not the zone's.
    await expect(unmount("/proc")).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
    await end();
  });

  it("files change in it as a whole; one that is itself a file cannot", async () => {
    const end = await startInit();
    const files = (text: string) => [{ path: "token", data: Buffer.from(text), mode: 0o400 }];
    await mount({ type: "files", target: "/secrets", files: files("1"), options: ["ro"] });
    await mount({ type: "files", target: "/etc/single", files: [{ path: "", data: Buffer.from("one") }] });
    expect(await run("cat /secrets/token /etc/single; touch /secrets/y 2>/dev/null || echo ' ro'")).toBe("1one ro\n");
    await lab.mounts.updateFiles({ containerId: "c", target: "/secrets", files: files("2") });
    expect(await run("cat /secrets/token")).toBe("2");
    const single = { containerId: "c", target: "/etc/single", files: [{ path: "" }] };
    await expect(lab.mounts.updateFiles(single)).rejects.toMatchObject({ reason: "FS_UNSUPPORTED" });
    await lab.agent.killAgent();
    await lab.mounts.updateFiles({ containerId: "c", target: "/secrets", files: files("3") });
    expect(await run("cat /secrets/token")).toBe("3");
    for (const target of ["/secrets", "/etc/single"]) await unmount(target);
    expect(readdirSync(lab.run("mount-files"))).toEqual([]);
    await end();
  });

  it("a container that swaps folders for links cannot redirect a mount or an unmount", async () => {
    const end = await startInit();
    await lab.mounts.mount({ mount: { type: "tmpfs", target: "b" } });
    const before = zoneMounts();
    // "a" is in turn a folder, and a link to the zone's own mounts, by several ways.
    const ways = [lab.run("mounts"), `../../../../..${lab.run("mounts")}`, "/proc/1/root", "/"];
    const swaps = ways.map((way) => `mv a a.dir; ln -s ${way} a; rm a; mv a.dir a;`).join(" ");
    const spec = {
      containerId: "c",
      id: "swapper",
      argv: sh(`cd /; mkdir -p a/b; while :; do ${swaps} done 2>/dev/null`),
    };
    const swapper = lab.agent.exec({ spec });
    await swapper.opened;
    const outcomes = new Map<string, number>();
    for (let round = 0; round < 300; round++) {
      const told = await mount({ type: "tmpfs", target: "/a/b" }).then(
        () => "mounted",
        (error: { reason: string }) => error.reason,
      );
      outcomes.set(told, (outcomes.get(told) ?? 0) + 1);
      expect(zoneMounts()).toEqual(before);
      for (let tries = 0; told === "mounted" && tries < 1000; tries++) {
        const done = await unmount("/a/b", { lazy: true }).then(
          () => true,
          (error: { reason: string }) => error.reason === "MOUNT_UNKNOWN",
        );
        expect(zoneMounts()).toEqual(before);
        if (done) break;
      }
    }
    await lab.agent.processes.signal({ id: "swapper", signal: 9 });
    await swapper.result;
    expect(outcomes.get("mounted")).toBeGreaterThan(0);
    await lab.mounts.unmount({ target: "b" });
    await end();
  }, 300_000);
});

it("what is left goes with the container", async () => {
  await mount({ type: "tmpfs", target: "/left" });
  await mount({ type: "files", target: "/left/files", files: [{ path: "a" }] });
  await lab.agent.containers.delete({ id: "c" });
  expect(lab.mounted().map(({ target }) => target)).toEqual(["/mounts/z", "/mounts/full"]);
  await expect(mount({ type: "tmpfs", target: "/x" })).rejects.toMatchObject({ reason: "CONTAINER_UNKNOWN" });
});
