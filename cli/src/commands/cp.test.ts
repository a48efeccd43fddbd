import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { encodeTar, file, folder, symlink } from "@zone/tar";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { TestFiles } from "../testing/file-service.js";
import { CliFixture } from "../testing/zonectl.js";

let cli: CliFixture;
let files: TestFiles;
let zone: string;
let host: string;

beforeAll(async () => {
  cli = await CliFixture.make();
  [zone, host] = [join(cli.folder, "zone"), join(cli.folder, "host")];
  files = new TestFiles(zone, join(cli.folder, "files.sock"));
  await files.listen();
});
afterAll(async () => {
  files.close();
  await cli.close();
});
beforeEach(() => {
  for (const folder of [zone, host]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
  }
  files.archive = undefined;
  files.opened.length = 0;
  mkdirSync(join(host, "site/sub"), { recursive: true });
  writeFileSync(join(host, "site/index"), "index");
  writeFileSync(join(host, "site/sub/deep"), "deep");
  symlinkSync("site", join(host, "link"));
  mkdirSync(join(zone, "srv/in"), { recursive: true });
  writeFileSync(join(zone, "srv/f"), "from zone");
  symlinkSync("f", join(zone, "srv/l"));
});

const cp = (...args: string[]) => cli.run(["cp", ...args], { env: { ZONE_BRIDGE: files.socket } });
const inZone = (path: string) => readFileSync(join(zone, path), "utf8");
const onHost = (path: string) => readFileSync(join(host, path), "utf8");
const at = (path: string) => join(host, path);

describe("zonectl cp to a zone", () => {
  it("copies a file: to a name, into a directory, over a file and through a link to it", async () => {
    for (const to of ["/srv/new", "/srv/", "srv", "/srv/f", "/srv/l"]) {
      expect(await cp(at("site/index"), `web:${to}`)).toMatchObject({ code: 0, stderr: "" });
    }
    expect(["srv/new", "srv/index", "srv/f"].map(inZone)).toEqual(["index", "index", "index"]);
    expect(readlinkSync(join(zone, "srv/l"))).toBe("f");
    expect(files.opened[0]).toMatchObject({ containerId: "main", path: "/srv", uid: 0, gid: 0, noReplaceTypes: true });
    expect([...files.zones]).toEqual(["web"]);
  });

  it("copies a directory: to a name, into a directory, and its content", async () => {
    await cp(at("site"), "web:/srv/new");
    await cp(at("site"), "web:/srv/in");
    await cp(`${at("site")}/.`, "web:/srv");
    expect(["srv/new/index", "srv/in/site/sub/deep", "srv/index"].map(inZone)).toEqual(["index", "deep", "index"]);
    await cp("-L", at("link"), "web:/srv/followed");
    await cp(at("link"), "web:/srv/itself");
    expect([inZone("srv/followed/index"), readlinkSync(join(zone, "srv/itself"))]).toEqual(["index", "site"]);
  });

  it("keeps owners with -a, and those of a tar stream", async () => {
    expect(await cp("-a", at("site"), "web:/srv")).toMatchObject({ code: 0 });
    const tar = execFileSync("tar", ["-C", at("site"), "-cf", "-", "."]);
    const piped = await cli.run(["cp", "-", "web:/srv/in"], { input: tar, env: { ZONE_BRIDGE: files.socket } });
    expect(piped).toMatchObject({ code: 0, stderr: "" });
    expect(inZone("srv/in/sub/deep")).toBe("deep");
    expect(files.opened.map(({ uid, gid }) => [uid, gid])).toEqual([
      [null, null],
      [null, null],
    ]);
  });

  it.each([
    [["site/index", "web:/srv/none/"], /no directory \/srv\/none\//],
    [["site", "web:/srv/f"], /not a directory/],
    [["site/index", "web:/srv/f/"], /not a directory/],
    [["site/index/", "web:/srv"], /not a directory|ENOTDIR/],
    [["none", "web:/srv"], /there is no/],
    [["site/index", "web:/none/f"], /tar failed/],
    [["site/index", "web:"], /invalid argument/],
    [["site/index", "a b:/x"], /invalid zone/],
  ])("refuses %j", async ([from = "", to = ""], message) => {
    const result = await cp(at(from), to);
    expect([result.code, result.stderr]).toEqual([125, expect.stringMatching(message)]);
    expect(result.stderr.trim().split("\n")).toHaveLength(1);
  });
});

describe("zonectl cp from a zone", () => {
  it("copies a file: to a name, into a directory, over a file and through a link to it", async () => {
    writeFileSync(at("old"), "old");
    symlinkSync("old", at("to-old"));
    for (const to of ["new", "site", "to-old"]) {
      expect(await cp("web:/srv/f", at(to))).toMatchObject({ code: 0, stderr: "" });
    }
    expect(["new", "site/f", "old"].map(onHost)).toEqual(["from zone", "from zone", "from zone"]);
    expect(lstatSync(at("to-old")).isSymbolicLink()).toBe(true);
    execFileSync("mkfifo", [at("fifo")]);
    const refused = await cp("web:/srv/f", at("fifo"));
    expect(refused).toMatchObject({ code: 125, stderr: expect.stringContaining("use - for a stream") });
    expect(lstatSync(at("fifo")).isFIFO()).toBe(true);
  });

  it("copies a directory: to a name, into a directory, and its content", async () => {
    await cp("web:/srv", at("new"));
    await cp("web:/srv", at("site"));
    await cp("web:/srv/.", at("site/sub"));
    expect(["new/f", "site/srv/f", "site/sub/f"].map(onHost)).toEqual(["from zone", "from zone", "from zone"]);
    await cp("web:/srv/l", at("itself"));
    await cp("-L", "web:/srv/l", at("followed"));
    expect([readlinkSync(at("itself")), onHost("followed")]).toEqual(["f", "from zone"]);
  });

  it("gives a tar stream", async () => {
    const names = async (path: string) => {
      const { stdout } = await cp(path, "-");
      return execFileSync("tar", ["-tf", "-"], { input: stdout, encoding: "utf8" }).trim().split("\n").sort();
    };
    expect(await names("web:/srv")).toEqual(["srv/", "srv/f", "srv/in/", "srv/l"]);
    expect(await names("web:/srv/.")).toEqual(["./", "./f", "./in/", "./l"]);
  });

  it("takes what it gets for hostile", async () => {
    files.archive = encodeTar([folder("x"), symlink("x/l", cli.folder), file("x/l/escaped", "mine")]);
    const result = await cp("web:/srv", at("new"));
    expect([result.code, result.stderr]).toEqual([
      125,
      expect.stringMatching(/cannot unpack "x\/l\/escaped".*in its way/),
    ]);
    expect(existsSync(join(cli.folder, "escaped"))).toBe(false);
    files.archive = encodeTar([file("../escaped", "mine")]);
    expect(await cp("web:/srv", at("other"))).toMatchObject({ code: 125 });
    files.archive = encodeTar([file("x", "", { typeFlag: "3", major: 1, minor: 3 })]);
    expect(await cp("web:/srv/f", at("device"))).toMatchObject({
      code: 0,
      stderr: 'zonectl: left out "x": a device\n',
    });
    files.archive = Buffer.alloc(2000, "text");
    expect(await cp("web:/srv/f", at("text"))).toMatchObject({ code: 125 });
    expect(readdirSync(host).sort()).toEqual(["link", "new", "site"]);
  });

  it.each([
    [["web:/srv/none", "new"], /no such file/],
    [["web:/srv/f", "none/"], /no directory/],
    [["web:/srv/f", "none/new"], /no directory/],
    [["web:/srv", "site/index"], /not a directory/],
  ])("refuses %j", async ([from = "", to = ""], message) => {
    const result = await cp(from, to.endsWith("/") ? `${at(to)}/` : at(to));
    expect([result.code, result.stderr]).toEqual([125, expect.stringMatching(message)]);
  });

  it("refuses two ends of a kind", async () => {
    expect((await cp("a:/x", "b:/y")).stderr).toMatch(/zone to zone/);
    expect((await cp("./x", "./y")).stderr).toMatch(/one of the two/);
    expect((await cp("-", "-")).stderr).toMatch(/one of the two/);
  });

  it("shows progress on a terminal, and what was copied", async () => {
    const shown = cli.terminal(["cp", "web:/srv/f", at("new")], undefined, { ZONE_BRIDGE: files.socket });
    expect((await shown.exit).code).toBe(0);
    expect(shown.text).toMatch(/copied .* to /);
    const quiet = cli.terminal(["cp", "-q", "web:/srv/f", at("new")], undefined, { ZONE_BRIDGE: files.socket });
    expect((await quiet.exit).code).toBe(0);
    expect(quiet.text).toBe("");
    const stream = cli.terminal(["cp", "web:/srv/f", "-"], undefined, { ZONE_BRIDGE: files.socket });
    expect((await stream.exit).code).toBe(125);
  });
});
