import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunningAgent } from "../../testing/running-agent.js";

/** cgroup2 alone at /sys/fs/cgroup, as in a zone, whatever the host has there; in a mount namespace of the agent's own. */
const OWN_CGROUPFS = [
  ...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
  'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@"',
];

/** A real agent with a busybox image on a loop device, in a folder that stands for /sys/block. */
export class ContainerLab {
  readonly agent: RunningAgent;
  /** The zone's own cgroup, as the host sees it; undefined where there is no cgroup2. */
  readonly cgroups: string | undefined;
  readonly work: string;
  readonly #loop: string;

  private constructor(agent: RunningAgent, work: string, loop: string, cgroups: string | undefined) {
    this.agent = agent;
    this.work = work;
    this.#loop = loop;
    this.cgroups = cgroups;
  }

  static async start(): Promise<ContainerLab> {
    const work = mkdtempSync(join(tmpdir(), "zone-lab-"));
    const loop = attach(makeImage(work));
    for (const name of ["dev", "sys-block/zz-w0"]) mkdirSync(join(work, name), { recursive: true });
    execFileSync("cp", ["-a", loop, join(work, "dev/zz-w0")]);
    writeFileSync(join(work, "sys-block/zz-w0/serial"), "w0\n");
    const root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
      existsSync(join(path, "cgroup.controllers")),
    );
    const name = `zone-lab-${process.pid}-${Date.now()}`;
    if (root) mkdirSync(join(root, name));
    const agent = await RunningAgent.start(
      "",
      {
        ZONE_SYS_BLOCK: join(work, "sys-block"),
        ZONE_DEV: join(work, "dev"),
        ...(root ? { ZONE_CGROUPS: join("/sys/fs/cgroup", name) } : {}),
      },
      root ? OWN_CGROUPFS : [],
    );
    return new ContainerLab(agent, work, loop, root && join(root, name));
  }

  get rootfs() {
    return { blockSerial: "w0", fsType: "erofs" };
  }

  /** Creates a container with an init that stays. */
  async run(id: string, request: object = {}, spec: object = {}): Promise<void> {
    await this.agent.containers.create({ id, rootfs: this.rootfs, ...request });
    await this.agent.processes.start({
      spec: { id: `${id}-init`, containerId: id, init: true, argv: words("sleep", "600"), ...spec },
    });
  }

  /** stdout of a shell script in a container that runs, and how it ended. */
  async sh(containerId: string, text: string, spec: object = {}): Promise<string> {
    const { stdout, stderr, code, signal, failed } = await this.agent.exec({
      spec: { containerId, argv: script(text), ...spec },
    }).result;
    if (failed) throw new Error(`${failed.reason}: ${failed.message}`);
    if (signal) return `signal ${signal}`;
    return `${stdout}${stderr}${code === 0 ? "" : `exit ${code}\n`}`;
  }

  /** Holders of namespaces that run. */
  holders(): number {
    const parent = (pid: number) => Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
    const init = parent(this.agent.agentPid);
    const children = readFileSync(`/proc/${init}/task/${init}/children`, "latin1").trim().split(" ");
    return children.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("--pause")).length;
  }

  /** Deletes containers, with all in them, and their processes. */
  async clean(...ids: string[]): Promise<void> {
    for (const id of ids) {
      await this.agent.containers.delete({ id, force: true });
      const { processes } = await this.agent.processes.list({ containerId: id });
      for (const { id } of processes ?? []) {
        await this.agent.processes.wait({ id: id ?? "" });
        await this.agent.processes.delete({ id: id ?? "" });
      }
    }
  }

  /** After a test: what it has left, if it has failed, must not fail the next. */
  async cleanAll(): Promise<void> {
    const { containers } = await this.agent.containers.list({});
    await this.clean(...(containers ?? []).map(({ id }) => id ?? ""));
  }

  /** PID 1's exit status; everything is gone then. */
  async stop(): Promise<number | null> {
    const status = await this.agent.stop();
    execFileSync("losetup", ["-d", this.#loop]);
    if (this.cgroups !== undefined) {
      for (const path of [join(this.cgroups, ".zone"), this.cgroups])
        if (existsSync(path)) execFileSync("rmdir", [path]);
    }
    rmSync(this.work, { recursive: true, force: true });
    return status;
  }
}

/** argv of a busybox applet. */
export function words(...argv: string[]): Buffer[] {
  return ["/bin/busybox", ...argv].map((word) => Buffer.from(word));
}

export function script(text: string): Buffer[] {
  return words("sh", "-c", text);
}

function makeImage(work: string): string {
  const root = join(work, "image");
  mkdirSync(join(root, "bin"), { recursive: true });
  mkdirSync(join(root, "etc"));
  chmodSync(root, 0o755);
  execFileSync("cp", ["/bin/busybox", join(root, "bin/busybox")]);
  for (const name of ["sh", "sleep"]) symlinkSync("busybox", join(root, "bin", name));
  writeFileSync(join(root, "bin/text"), "no program\n", { mode: 0o644 });
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n");
  const image = join(work, "image.erofs");
  execFileSync("mkfs.erofs", ["-x-1", image, root], { stdio: "ignore" });
  return image;
}

function attach(file: string): string {
  return execFileSync("losetup", ["--read-only", "--show", "-f", file], { encoding: "utf8" }).trim();
}
