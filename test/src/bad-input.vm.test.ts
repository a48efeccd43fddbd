import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";

/** One clear line, the right exit code, nothing left behind. */
describe("bad input", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    await bridge.detached("taken", ["sleep", "100000"]);
  });
  afterAll(() => bridge.close());

  test.each<[string, string[], number, RegExp]>([
    ["an unknown archive", ["run", "--rm", "oci-archive:/nowhere.tar"], 125, /nowhere\.tar/],
    ["a bad reference", ["run", "--rm", "BAD//Ref"], 125, /BAD\/\/Ref/],
    ["an unreachable registry", ["run", "--rm", "docker://127.0.0.1:1/x"], 125, /127\.0\.0\.1:1/],
    ["a missing command", ["run", "--rm", "busybox", "nope"], 127, /nope/],
    ["a command that cannot be executed", ["run", "--rm", "busybox", "/etc/passwd"], 126, /passwd/],
    ["an unknown user", ["run", "--rm", "-u", "nobodyhere", "busybox", "true"], 125, /nobodyhere/],
    ["an unknown flag", ["run", "--no-such-flag", "busybox"], 125, /--no-such-flag/],
    ["a duplicate name", ["run", "--name", "taken", "busybox"], 125, /taken/],
    ["a bad name", ["run", "--name", "../x", "busybox"], 125, /\.\.\/x/],
    ["an unknown zone", ["exec", "nowhere", "true"], 125, /nowhere/],
    ["too little memory", ["run", "--rm", "--memory", "8m", "busybox", "true"], 125, /memory/i],
    ["memory that is no size", ["run", "--memory", "lots", "busybox"], 125, /lots/],
    ["no cpus", ["run", "--cpus", "0", "busybox"], 125, /cpus/],
    ["a bad signal", ["kill", "-s", "NOPE", "taken"], 125, /NOPE/],
    ["an unknown command", ["frobnicate"], 125, /frobnicate/],
    ["rm of a running zone", ["rm", "taken"], 125, /taken/],
    ["logs of an unknown zone", ["logs", "nowhere"], 125, /nowhere/],
  ])("%s", async (_, args, expected, named) => {
    const { code, stderr, stdout } = await bridge.zonectl(args);
    expect({ code, stdout: stdout.toString() }).toEqual({ code: expected, stdout: "" });
    expect(stderr).toMatch(/^zonectl: [^\n]*\n$/);
    expect(stderr).toMatch(named);
    const { zones } = await bridge.zones.list({ all: true });
    expect(zones?.map(({ spec }) => spec?.name)).toEqual(["taken"]);
  });

  test("an unreadable template is made again", async () => {
    await bridge.stop();
    const templates = join(bridge.stateDir, "templates");
    for (const name of readdirSync(templates)) writeFileSync(join(templates, name, "state"), "not a template");
    await bridge.launch();
    const { code, stdout } = await bridge.zonectl(["run", "--rm", "busybox", "echo", "made again"]);
    expect({ code, out: stdout.toString() }).toEqual({ code: 0, out: "made again\n" });
  });

  test("without QEMU it says what to install", async () => {
    const empty = mkdtempSync(join(tmpdir(), "zone-noqemu-"));
    const other = await TestBridge.start({ stateDir: join(empty, "state"), env: { PATH: empty } });
    try {
      const { code, stderr } = await other.zonectl(["run", "--rm", "busybox", "true"], {
        env: { PATH: process.env.PATH ?? "" },
      });
      expect(code).toBe(125);
      expect(stderr).toMatch(/^zonectl: [^\n]*(qemu|busybox)[^\n]*\n$/i);
    } finally {
      await other.close();
      rmSync(empty, { recursive: true });
    }
  });

  test("a full disk is said to be full", async () => {
    const { execFileSync } = await import("node:child_process");
    const small = mkdtempSync(join(tmpdir(), "zone-full-"));
    mkdirSync(join(small, "fs"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", join(small, "fs")]);
    const other = await TestBridge.start({ stateDir: join(small, "fs", "state") });
    try {
      const { code, stderr } = await other.zonectl(["run", "--rm", "busybox", "true"]);
      expect(code).toBe(125);
      expect(stderr).toMatch(/space|full|free/i);
      expect((await other.zones.list({ all: true })).zones).toEqual([]);
    } finally {
      await other.close();
      execFileSync("umount", [join(small, "fs")]);
      rmSync(small, { recursive: true });
    }
  });

  test.each([
    ["in the first moment", /(?:)/],
    ["while the zone starts", /./],
  ])("Ctrl-C %s leaves nothing", async (_, seen) => {
    const { code } = await bridge.zonectl(["run", "--rm", "--cold", "busybox", "sleep", "1000"], {
      onSpawn: (child) => {
        if (seen.test("")) setTimeout(() => child.kill("SIGINT"), 300);
        else child.stderr?.once("data", () => child.kill("SIGINT"));
      },
    });
    expect([130, 137]).toContain(code);
    const { zones } = await bridge.zones.list({ all: true });
    expect(zones?.map(({ spec }) => spec?.name)).toEqual(["taken"]);
  });
});
