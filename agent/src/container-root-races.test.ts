import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient, MountService } from "@zone/proto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ContainerLab } from "./container/testing/lab.js";

/** A process that writes to the folder which is a container's root, and keeps exchanging its directories with links out. */
let lab: ContainerLab;
let swapper: ChildProcess;
let volume: string;
let inside: (path: string) => string;

const SWAP = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print('ready', flush=True)
while True:
  for name in ('etc', 'dev', 'sys', 'proc', 'etc/hosts', 'etc/hostname'):
    libc.renameat2(-100, name.encode(), -100, (name + '-link').encode(), 2)`;

beforeAll(async () => {
  lab = await ContainerLab.start();
  const mounts = createClient(MountService, lab.agent.session.client);
  await mounts.mount({ mount: { type: "tmpfs", target: "data" } });
  await mounts.mount({ mount: { type: "tmpfs", target: "outside" } });
  inside = (path) => join("/proc", String(lab.agent.agentPid), "root", lab.agent.directory, "run", path);
  volume = inside("mounts/data/image");
  cpSync(join(lab.work, "image"), volume, { recursive: true, verbatimSymlinks: true });
  const outside = join(lab.agent.directory, "run/mounts/outside");
  const make = `cd ${volume}; mkdir -p dev sys proc; : > etc/hosts; : > etc/hostname
    mkdir -p ${inside("mounts/outside/shm")}; echo mine > ${inside("mounts/outside/hosts")}; ln -s hosts ${inside("mounts/outside/hostname")}
    for name in dev sys proc etc; do ln -s ${outside} $name-link; done
    ln -s ${outside}/hosts etc/hosts-link; ln -s ${outside}/made etc/hostname-link`;
  await once(spawn("sh", ["-ec", make], { stdio: "inherit" }), "exit");
  swapper = spawn("python3", ["-c", SWAP, volume], { stdio: ["ignore", "pipe", "inherit"] });
  if (swapper.stdout) await once(swapper.stdout, "data");
});
afterAll(async () => {
  swapper?.kill("SIGKILL");
  await lab?.cleanAll();
  await lab?.stop();
});

/** What is mounted in the zone, containers apart; and all that lies outside the root. */
function outside(): string {
  const mounts = readFileSync(`/proc/${lab.agent.agentPid}/mountinfo`, "latin1")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => !target.includes("/run/containers/"));
  const folder = inside("mounts/outside");
  return JSON.stringify([mounts, readdirSync(folder).sort(), readFileSync(join(folder, "hosts"), "utf8")]);
}

for (const direct of [true, false]) {
  it(`a ${direct ? "direct" : "layered"} root whose names are swapped leads nowhere else`, {
    timeout: 120_000,
  }, async () => {
    const before = outside();
    let made = 0;
    for (let round = 0; round < 150; round++) {
      const id = `c${round}`;
      const outcome = await lab.agent.containers.create({ id, rootfs: { source: "zone:data/image", direct } }).then(
        () => "made",
        (error: { reason: string }) => error.reason,
      );
      expect(outside()).toBe(before);
      expect(["made", "INVALID_ROOTFS"]).toContain(outcome);
      if (outcome !== "made") continue;
      made += 1;
      await lab.agent.containers.delete({ id });
      expect(outside()).toBe(before);
    }
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(150);
    expect(existsSync(volume)).toBe(true);
  });
}
