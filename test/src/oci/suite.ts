import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { must, runProgram } from "../harness/program.js";

/** The OCI's runtime-tools: its validation programs, built, with what they need in one folder. */
export interface Suite {
  /** The working directory of the programs. */
  folder: string;
  /** Names of the programs in folder/bin. */
  programs: string[];
}

export const SUITE = "github.com/opencontainers/runtime-tools";

/** Whether there is a Go that can build it. */
export async function hasGo(): Promise<boolean> {
  return (await runProgram("go", ["version"]).catch(() => undefined))?.code === 0;
}

/**
 * Fetches the suite and builds it, unchanged: out of Go's read-only module cache, by the versions and checksums of the go.mod and
 * go.sum in `modules`. Throws with Go's own message.
 */
export async function buildSuite(modules: string, folder: string): Promise<Suite> {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  const go = (args: string[], env: Record<string, string> = {}) =>
    must("go", args, { cwd: modules, env: { GOFLAGS: "-mod=readonly", ...env } });
  await go(["mod", "download", SUITE]);
  // Without symbols: it is copied into the zone for every container.
  const runtimetest = ["build", "-trimpath", "-ldflags", "-s -w", "-o", join(folder, "runtimetest")];
  await go([...runtimetest, `${SUITE}/cmd/runtimetest`], { CGO_ENABLED: "0" });
  await go(["build", "-trimpath", "-o", `${bin}/`, `${SUITE}/validation/...`]);
  const source = (await go(["list", "-m", "-f", "{{.Dir}}", SUITE])).trim();
  copyFileSync(join(source, "rootfs-amd64.tar.gz"), join(folder, "rootfs-amd64.tar.gz"));
  return { folder, programs: readdirSync(bin).sort() };
}
