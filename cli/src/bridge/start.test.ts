import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { CliFixture } from "../testing/zonectl.js";

// The folder of the fixture is laid out as the repository, so zonectl finds this in the role of zone-bridge.
const BRIDGE = `
import { appendFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
const run = process.env.ZONE_RUN_DIR;
appendFileSync(join(run, "starts"), process.pid + "\\n");
const mode = process.env.TEST_BRIDGE ?? "";
if (mode === "dies") {
  process.stderr.write('{"level":30,"msg":"starting"}\\n{"level":60,"msg":"cannot open the store: it is locked"}\\n');
  process.exit(1);
}
if (mode === "crashes") throw new Error("no such thing");
rmSync(join(run, "bridge.sock"), { force: true });
setTimeout(() => createServer((socket) => socket.destroy()).listen(join(run, "bridge.sock")), 300);
`;

let cli: CliFixture;
let run: string;
beforeAll(async () => {
  cli = await CliFixture.make();
  mkdirSync(join(cli.folder, "host-bridge/build"), { recursive: true });
  writeFileSync(join(cli.folder, "host-bridge/build/zone-bridge.mjs"), BRIDGE);
}, 60_000);
afterAll(() => cli.close());
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), "zone-run-"));
});
afterEach(() => {
  for (const pid of starts()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
  rmSync(run, { recursive: true, force: true });
});

const starts = () =>
  existsSync(join(run, "starts")) ? readFileSync(join(run, "starts"), "utf8").trim().split("\n").map(Number) : [];
const env = (more: NodeJS.ProcessEnv = {}) => ({ ZONE_BRIDGE: "", ZONE_NO_AUTOSTART: "", ZONE_RUN_DIR: run, ...more });
// The stand-in answers connections, not calls: that it was reached is seen from the error.
const REACHED = /^zonectl: (call to|cannot reach|no answer from) the bridge at /;

describe("starting the bridge on demand", { timeout: 60_000 }, () => {
  it("starts it, once, and leaves it running", async () => {
    expect((await cli.run(["ls"], { env: env() })).stderr).toMatch(REACHED);
    expect((await cli.run(["ls"], { env: env() })).stderr).toMatch(REACHED);
    expect(starts()).toHaveLength(1);
    expect(() => process.kill(starts()[0] ?? 0, 0)).not.toThrow();
  });

  it("starts one for many at once", async () => {
    const results = await Promise.all(Array.from({ length: 5 }, () => cli.run(["ls"], { env: env() })));
    for (const { stderr } of results) expect(stderr).toMatch(REACHED);
    expect(starts()).toHaveLength(1);
  });

  it("starts another when the first was killed and left its socket", async () => {
    await cli.run(["ls"], { env: env() });
    process.kill(starts()[0] ?? 0, "SIGKILL");
    expect(existsSync(join(run, "bridge.sock"))).toBe(true);
    expect((await cli.run(["ls"], { env: env() })).stderr).toMatch(REACHED);
    expect(starts()).toHaveLength(2);
  });

  it.each([
    ["dies", "cannot open the store: it is locked"],
    ["crashes", "Error: no such thing"],
  ])("says why when it %s", async (mode, why) => {
    const { code, stderr } = await cli.run(["ls"], { env: env({ TEST_BRIDGE: mode }) });
    expect(stderr).toBe(
      `zonectl: cannot start the bridge at ${run}/bridge.sock: ${why}; its log is ${run}/bridge.log\n`,
    );
    expect(code).toBe(125);
  });

  it("does not when told not to, or when the bridge is elsewhere", async () => {
    for (const [args, more] of [
      [["ls"], { ZONE_NO_AUTOSTART: "1" }],
      [["--bridge", join(run, "other.sock"), "ls"], {}],
      [["ls"], { ZONE_BRIDGE: join(run, "other.sock") }],
    ] as const) {
      const { code, stderr } = await cli.run(args, { env: env(more) });
      expect(stderr).toMatch(
        /^zonectl: cannot reach the bridge at .*: it does not run; start zone-bridge, or check the path\n$/,
      );
      expect(code).toBe(125);
    }
    expect(starts()).toEqual([]);
  });

  it("does not for version", async () => {
    expect((await cli.run(["version"], { env: env() })).stdout.toString()).toContain("not running");
    expect(starts()).toEqual([]);
  });

  it.runIf(process.getuid?.() === 0)("says to others than root that only root can", async () => {
    const folder = mkdtempSync(join(tmpdir(), "zonectl-user-"));
    try {
      spawnSync("cp", ["-r", join(cli.folder, "cli/build"), folder]);
      copyFileSync(process.execPath, join(folder, "node"));
      spawnSync("chmod", ["-R", "a+rX", folder]);
      spawnSync("chmod", ["a+x", join(folder, "node")]);
      const binary = join(folder, "build/zonectl.mjs");
      const { status, stderr } = spawnSync(join(folder, "node"), ["--", binary, "ls"], {
        uid: 65534,
        gid: 65534,
        env: cli.env(env()),
        cwd: "/",
      });
      expect(stderr.toString()).toMatch(
        /^zonectl: cannot (start|reach) the bridge at .*(only root can; use sudo|permission denied; use sudo).*\n$/,
      );
      expect(status).toBe(125);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
