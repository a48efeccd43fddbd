import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { usageOf } from "./process-usage.js";

it("adds up processes and their children, and takes those that are gone for nothing", async () => {
  const script = "read -r line; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 100 & echo ready; wait";
  const child = spawn("/bin/sh", ["-c", script], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const exited = once(child, "exit");
  child.stdin.write("\n");
  await once(child.stdout, "data");
  const { pid = 0 } = child;
  const both = await usageOf([pid]);
  expect(both.cpuUs).toBeGreaterThan(0);
  expect(both.privateBytes).toBeGreaterThan(0);
  expect(both.pssBytes).toBeGreaterThanOrEqual(both.privateBytes);
  process.kill(-pid, "SIGKILL");
  await exited;
  expect(await usageOf([pid])).toEqual({ cpuUs: 0, pssBytes: 0, privateBytes: 0 });
});
