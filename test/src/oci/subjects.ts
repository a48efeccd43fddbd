import { chmodSync, existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inZone, repository, TestBridge } from "../harness/bridge.js";
import { must, runProgram } from "../harness/program.js";
import type { Subject } from "./validate.js";

const ZONE = "oci";

/** Our own runtime, with a zone of its own; `end` removes both. */
export async function zoneSubject(folder: string): Promise<Subject & { end(): Promise<void> }> {
  const bridge = await TestBridge.start();
  const state = join(folder, "state");
  try {
    await bridge.detached(ZONE, ["sleep", "1000000"], ["--network", "none", "--memory", "512m", "--cpus", "2"]);
  } catch (error) {
    await bridge.close();
    throw error;
  }
  return {
    runtime: join(repository, "test", "oci", "runtime.mjs"),
    env: { ZONE_BRIDGE: bridge.socket, ZONE_OCI_ZONE: ZONE, ZONE_OCI_STATE: state },
    async clean() {
      const { containers = [] } = await bridge.container.list({}, inZone(ZONE));
      for (const { id, oci } of containers) {
        if (oci) await bridge.container.delete({ id: id ?? "", force: true }, inZone(ZONE));
      }
      rmSync(state, { recursive: true, force: true });
    },
    end: () => bridge.close(),
  };
}

/** crun on this host, with a state of its own; undefined when it is not there. */
export async function crunSubject(folder: string): Promise<(Subject & { version: string }) | undefined> {
  const found = await runProgram("crun", ["--version"]).catch(() => undefined);
  if (found?.code !== 0) return undefined;
  const root = join(folder, "crun-state");
  const runtime = join(folder, "crun.sh");
  mkdirSync(folder, { recursive: true });
  sweepCgroups();
  writeFileSync(runtime, `#!/bin/sh\nexec crun --root '${root}' "$@"\n`);
  chmodSync(runtime, 0o755);
  return {
    version: /crun version (\S+)/.exec(found.stdout.toString())?.[1] ?? "",
    runtime,
    env: {},
    async clean() {
      const left = await must("crun", ["--root", root, "list", "-q"]);
      for (const id of left.split("\n").filter(Boolean)) await runProgram("crun", ["--root", root, "delete", "-f", id]);
      sweepCgroups();
    },
  };
}

const CGROUPS = "/sys/fs/cgroup";
/** The cgroups that the suite names in its bundles, the inner ones first. */
const SUITE_CGROUPS = ["testdir/cgrouptest/container", "testdir/cgrouptest", "testdir", "cgrouptest"];

/**
 * Removes what crun has left of the suite's cgroups when it failed: the suite would take it for the cgroup of the next container, one in
 * a zone too. rmdir(2) removes none in which anything runs.
 */
function sweepCgroups(): void {
  for (const hierarchy of existsSync(CGROUPS) ? readdirSync(CGROUPS) : []) {
    for (const name of SUITE_CGROUPS) {
      const path = join(CGROUPS, hierarchy, name);
      if (existsSync(path)) rmdirSync(path);
    }
  }
}
