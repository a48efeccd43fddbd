import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SpawnError } from "./init-types.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { InitUnderTest, specOf } from "./testing/init-under-test.js";

describe.skipIf(!isRoot)("exec (needs root)", { timeout: TIMEOUT_MS }, () => {
  let init: InitUnderTest;
  let dir: string;
  beforeAll(async () => {
    init = await InitUnderTest.start();
    dir = mkdtempSync(join(tmpdir(), "zone-exec-"));
  }, TIMEOUT_MS);
  afterAll(async () => {
    await init.stop();
    rmSync(dir, { recursive: true });
  }, TIMEOUT_MS);

  const file = (name: string, mode: number, text = "#!/bin/sh\necho found\n") => {
    const path = join(dir, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const failure = async (spec: Parameters<typeof init.run>[0]) => {
    const error = await init.run(spec).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof SpawnError)) throw new Error(`no SpawnError: ${error}`);
    return { stage: error.stage, code: error.code, errno: error.errno };
  };

  it("passes output, error output and the exit status through", async () => {
    const done = await init.run(specOf(["sh", "-c", "echo out; echo err >&2; exit 7"]));
    expect(done.stdout.toString()).toBe("out\n");
    expect(done.stderr.toString()).toBe("err\n");
    expect(done.exit).toMatchObject({ code: 7, signal: 0, coreDumped: false });
    expect(done.exit.pid).toBe(done.pid);
    expect(Math.abs(Date.now() - done.exit.timeMs)).toBeLessThan(TIMEOUT_MS);
  });

  it("gives stdin, and its end", async () => {
    const stdin = Buffer.alloc(300_000, "x");
    const done = await init.run(specOf(["wc", "-c"]), { stdin });
    expect(done.stdout.toString().trim()).toBe("300000");
  });

  it("reports a death by signal as such", async () => {
    const { exit } = await init.run(specOf(["sh", "-c", "kill -9 $$"]));
    expect(exit).toMatchObject({ code: 0, signal: 9 });
  });

  it("says ENOENT for a program that is nowhere", async () => {
    expect(await failure(specOf(["no-such-program"]))).toEqual({ stage: "exec", code: "ENOENT", errno: 2 });
    expect(await failure(specOf(["/no/such/program"]))).toEqual({ stage: "exec", code: "ENOENT", errno: 2 });
    expect(await failure(specOf([""]))).toEqual({ stage: "exec", code: "ENOENT", errno: 2 });
  });

  it("says EACCES for what is not executable, by path and along PATH", async () => {
    const path = file("plain", 0o644);
    expect(await failure(specOf([path]))).toEqual({ stage: "exec", code: "EACCES", errno: 13 });
    expect(await failure(specOf(["plain"], { env: [`PATH=${dir}`] }))).toMatchObject({ code: "EACCES" });
  });

  it("remembers EACCES when later entries of PATH lack the program, and goes on to one that has it", async () => {
    file("tool", 0o644);
    expect(await failure(specOf(["tool"], { env: [`PATH=${dir}:/nowhere`] }))).toMatchObject({ code: "EACCES" });
    rmSync(join(dir, "tool"));
    file("tool", 0o755);
    const done = await init.run(specOf(["tool"], { env: [`PATH=/nowhere:/etc/passwd:${dir}`] }));
    expect(done.stdout.toString()).toBe("found\n");
  });

  it("takes an empty entry of PATH as the current directory", async () => {
    file("here", 0o755);
    const done = await init.run(specOf(["here"], { env: ["PATH=:/nowhere"], cwd: dir }));
    expect(done.stdout.toString()).toBe("found\n");
  });

  it("says ENOEXEC for a file without a format, and gives it to no shell", async () => {
    const path = file("text", 0o755, "echo no\n");
    expect(await failure(specOf([path]))).toEqual({ stage: "exec", code: "ENOEXEC", errno: 8 });
  });

  it("passes 100 KiB arguments, empty ones, line ends and bytes that are not UTF-8 unchanged", async () => {
    const long = "a".repeat(100 * 1024);
    const bytes = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1));
    const argv = [
      "sh",
      "-c",
      'for a in "$@"; do printf "%s\\0" "$a"; done; cat /proc/self/environ',
      "sh",
      long,
      "",
      "a\nb",
      bytes,
      "",
    ];
    const env = ["PATH=/usr/bin:/bin", "LINES=one\ntwo\n", Buffer.concat([Buffer.from("RAW="), bytes]), "EMPTY="];
    const { stdout } = await init.run(specOf(argv, { env }));
    const expected = Buffer.concat(
      [long, "", "a\nb", bytes, ""].flatMap((text) => [Buffer.from(text), Buffer.from([0])]),
    );
    expect(stdout.subarray(0, expected.length).equals(expected)).toBe(true);
    const rest = stdout.subarray(expected.length).toString("latin1");
    expect(rest).toContain("LINES=one\ntwo\n\0");
    expect(rest).toContain(`RAW=${bytes.toString("latin1")}\0`);
    expect(rest).toContain("EMPTY=\0");
  });

  it("passes the kernel's limit on arguments on", async () => {
    expect(await failure(specOf(["true", "a".repeat(200 * 1024)]))).toMatchObject({ stage: "exec", code: "E2BIG" });
  });
});
