import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { encodeTar, file, pax } from "@zone/tar";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { collect, copyIn, copyOut } from "./testing/client.js";
import { listing } from "./testing/listing.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { at, put } = zone;

beforeEach(() => void mkdirSync(at("d")));

describe("CopyOut", () => {
  it("gives an archive that GNU tar unpacks to the same", async () => {
    mkdirSync(at("tree/sub/deep"), { recursive: true });
    put("tree/f", Buffer.alloc(600_001, "xyz"));
    put("tree/empty");
    put("tree/sub/ä ö", "umlauts");
    for (let i = 0; i < 700; i++) put(`tree/sub/deep/file${i}`, `${i}`.repeat(i));
    symlinkSync("../any", at("tree/l"));
    linkSync(at("tree/f"), at("tree/sub/hard"));
    execFileSync("mkfifo", ["-m", "600", at("tree/pipe")]);
    execFileSync("mknod", ["-m", "640", at("tree/node"), "b", "259", "70000"]);
    chmodSync(at("tree/sub"), 0o1777);
    execFileSync("chown", ["-h", "70000:4000000", at("tree/l"), at("tree/empty")]);
    execFileSync("touch", ["-h", "-d", "1969-12-31T00:00:00.123456789Z", at("tree/l"), at("tree/empty")]);
    const server = createServer().listen(at("tree/socket"));
    await once(server, "listening");
    const { root: info, tar } = await copyOut(zone.agent.files, { path: "/tree" });
    server.close();
    await once(server, "close");
    execFileSync("touch", ["-d", "2020-01-01", at("tree")]);
    expect(info).toMatchObject({ name: "tree", type: 2 });
    mkdirSync(at("out"));
    execFileSync("tar", ["-xpf", "-", "--numeric-owner", "--same-owner", "-C", at("out")], { input: tar });
    execFileSync("touch", ["-d", "2020-01-01", at("out/tree")]);
    expect(listing(at("out/tree"))).toEqual(listing(at("tree")));
    expect(statSync(at("out/tree/node")).rdev).toBe(statSync(at("tree/node")).rdev);
  });

  it("names its first member as asked", async () => {
    put("d/f", "x");
    put("d/sub/g", "y");
    const names = async (request: object) => {
      const { tar } = await copyOut(zone.agent.files, { path: "/d", ...request });
      return execFileSync("tar", ["-tf", "-"], { input: tar, encoding: "utf8" }).trim().split("\n").sort();
    };
    expect(await names({})).toEqual(["d/", "d/f", "d/sub/", "d/sub/g"]);
    expect(await names({ name: "." })).toEqual(["./", "./f", "./sub/", "./sub/g"]);
    expect(await names({ name: "a/b" })).toEqual(["a/b/", "a/b/f", "a/b/sub/", "a/b/sub/g"]);
    expect(await names({ path: "/d/f", name: "other" })).toEqual(["other"]);
    symlinkSync("d", at("l"));
    expect(await names({ path: "/l" })).toEqual(["l"]);
    expect(await names({ path: "/l", follow: true, name: "n" })).toEqual(["n/", "n/f", "n/sub/", "n/sub/g"]);
    expect((await copyOut(zone.agent.files, { path: "/" })).root).toMatchObject({ name: "/" });
    for (const name of ["/a", "..", "a/../b", "a//b", "./a", "a/", "x".repeat(5000), "a\0"]) {
      await expect(copyOut(zone.agent.files, { path: "/d", name })).rejects.toMatchObject({ reason: "INVALID_PATH" });
    }
    await expect(copyOut(zone.agent.files, { path: "/d/f", name: "." })).rejects.toMatchObject({
      reason: "NOT_A_DIRECTORY",
    });
    await expect(copyOut(zone.agent.files, { path: "/none" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    const server = createServer().listen(at("socket"));
    await once(server, "listening");
    await expect(copyOut(zone.agent.files, { path: "/socket" })).rejects.toMatchObject({ reason: "NOT_A_FILE" });
    server.close();
  });

  it("keeps holes: a large file costs what it holds", async () => {
    put("holes");
    truncateSync(at("holes"), 2 ** 40);
    execFileSync("dd", ["if=/dev/urandom", `of=${at("holes")}`, "bs=64k", "count=1", "seek=1000", "conv=notrunc"], {
      stdio: "ignore",
    });
    const { tar } = await copyOut(zone.agent.files, { path: "/holes" });
    expect(tar.length).toBeLessThan(100_000);
    expect(await copyIn(zone.agent.files, { path: "/d" }, tar)).toMatchObject({ bytes: 2 ** 40 });
    expect(statSync(at("d/holes")).size).toBe(2 ** 40);
    const part = (path: string) =>
      createHash("sha256")
        .update(
          execFileSync("dd", [`if=${at(path)}`, "bs=64k", "count=3", "skip=999"], {
            stdio: ["ignore", "pipe", "ignore"],
          }),
        )
        .digest("hex");
    expect(part("d/holes")).toBe(part("holes"));
    put("all-hole");
    truncateSync(at("all-hole"), 12_345);
    execFileSync("tar", ["-xf", "-", "-C", at("d")], {
      input: (await copyOut(zone.agent.files, { path: "/all-hole" })).tar,
    });
    expect(readFileSync(at("d/all-hole")).equals(Buffer.alloc(12_345))).toBe(true);
  });

  it("cuts or pads a file that changes while it is read", async () => {
    put("tree/big", Buffer.alloc(8 << 20, 1));
    const call = zone.agent.files.copyOut({ path: "/tree" });
    const chunks: Uint8Array[] = [];
    call.once("data", () => truncateSync(at("tree/big"), 100));
    call.on("data", ({ data }) => data && chunks.push(data));
    await once(call, "end");
    const listed = execFileSync("tar", ["-tvf", "-"], { input: Buffer.concat(chunks), encoding: "utf8" });
    expect(listed).toMatch(/8388608.*tree\/big/);
    writeFileSync(at("grow"), "x");
    const writer = zone.agent.shell(`while :; do echo more >> ${at("grow")}; done`);
    for (let i = 0; i < 20; i++) {
      const { tar } = await copyOut(zone.agent.files, { path: "/grow" });
      execFileSync("tar", ["-tf", "-"], { input: tar });
    }
    await writer.drop();
  });

  it("lets a slow client wait, and ends when it goes", async () => {
    put("tree/f", Buffer.alloc(1000));
    for (let i = 0; i < 20; i++) put(`tree/big${i}`, Buffer.alloc(10 << 20, i));
    const before = zone.agent.descriptors("agent");
    const call = zone.agent.files.copyOut({ path: "/tree" });
    call.on("error", () => {});
    await once(call, "data");
    call.pause();
    const rss = zone.agent.rss();
    for (let i = 0; i < 50; i++) await zone.agent.files.stat({ path: "/tree" });
    expect(zone.agent.rss() - rss).toBeLessThan(64 << 20);
    call.cancel();
    await expect.poll(() => zone.agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
  });

  it("says when directories lie too deep", async () => {
    execFileSync("python3", ["-c", "import os\nfor i in range(600): os.mkdir('d'); os.chdir('d')"], { cwd: at("d") });
    await expect(collect(zone.agent.files.copyOut({ path: "/d" }))).rejects.toMatchObject({ reason: "FILE_FAILED" });
  });

  it("leaves out what the kernel makes up", async () => {
    mkdirSync(at("tree/proc"), { recursive: true });
    execFileSync("mount", ["-t", "proc", "proc", at("tree/proc")]);
    try {
      const { tar } = await copyOut(zone.agent.files, { path: "/tree" });
      expect(execFileSync("tar", ["-tf", "-"], { input: tar, encoding: "utf8" })).toBe("tree/\ntree/proc/\n");
    } finally {
      execFileSync("umount", [at("tree/proc")]);
    }
  });

  it("gives what CopyIn took", { timeout: 180_000 }, async () => {
    const name = fc.stringMatching(/^[a-z\xe4]{1,12}$/);
    const tree = fc.dictionary(
      fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/")),
      fc.record({ content: fc.uint8Array({ maxLength: 3000 }), mode: fc.nat(0o7777), uid: fc.nat(100_000) }),
      { maxKeys: 8 },
    );
    await fc.assert(
      fc.asyncProperty(tree, async (files) => {
        for (const folder of ["d", "e"]) {
          rmSync(at(folder), { recursive: true, force: true });
          mkdirSync(at(folder));
        }
        const paths = Object.keys(files);
        const usable = paths.filter((path) => !paths.some((other) => other.startsWith(`${path}/`)));
        const members = usable.flatMap((path) => {
          const { content = new Uint8Array(), mode = 0, uid = 0 } = files[path] ?? {};
          return [
            pax({ path: Buffer.from(path).toString("latin1"), mtime: "77.125" }),
            file("x", Buffer.from(content), { mode, uid }),
          ];
        });
        await copyIn(zone.agent.files, { path: "/d" }, encodeTar(members));
        const { tar } = await copyOut(zone.agent.files, { path: "/d", name: "." });
        await copyIn(zone.agent.files, { path: "/e" }, tar);
        const [first, second] = [listing(at("d")), listing(at("e"))];
        expect(second.filter((line) => !line.startsWith("b'.'"))).toEqual(
          first.filter((line) => !line.startsWith("b'.'")),
        );
        expect(first.filter((line) => line.includes(" 0o10"))).toHaveLength(usable.length);
      }),
      { numRuns: 40 },
    );
  });
});
