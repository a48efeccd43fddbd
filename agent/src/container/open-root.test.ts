import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { fstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openRoot } from "./open-root.js";

let root: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "zone-open-root-"));
  execFileSync("cp", ["/bin/busybox", join(root, "busybox")]);
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  rmSync(root, { recursive: true, force: true });
});

/** A process whose root is `folder`, known to run there. */
async function runIn(folder: string): Promise<number> {
  const child = spawn("chroot", [folder, "/busybox", "sh", "-c", "echo ready; /busybox sleep 600"]);
  children.push(child);
  await once(child.stdout, "data");
  return child.pid ?? 0;
}

/** What it has opened is `folder`, and closing it gives the descriptor back. */
function check(opened: { fd: number; close(): void }, folder: string): void {
  const [found, expected] = [fstatSync(opened.fd), statSync(folder)];
  expect([found.dev, found.ino]).toEqual([expected.dev, expected.ino]);
  const before = readdirSync("/proc/self/fd").length;
  opened.close();
  expect(readdirSync("/proc/self/fd").length).toBe(before - 1);
}

it("opens the root of a running init", async () => {
  check(openRoot(root, await runIn(root)), root);
});

it("opens the prepared root when there is no init, or it has ended", async () => {
  check(openRoot(root, undefined), root);
  const child = spawn("true");
  await once(child, "exit");
  check(openRoot(root, child.pid), root);
});

it("takes nothing from a process with another root", async () => {
  const inner = join(root, "inner");
  mkdirSync(inner);
  execFileSync("cp", ["/bin/busybox", join(inner, "busybox")]);
  check(openRoot(root, await runIn(inner)), root);
  check(openRoot(root, process.pid), root);
});

it("throws when there is no root", () => {
  expect(() => openRoot(join(root, "missing"), undefined)).toThrow(expect.objectContaining({ code: "ENOENT" }));
});
