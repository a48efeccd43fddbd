import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, MountService } from "@zone/proto";
import { RunningAgent } from "../../testing/running-agent.js";
import { parseMountInfo } from "../mountinfo.js";

const MIB = 1024 * 1024;

/**
 * An agent with real disks: images on loop devices, in a folder that stands for /sys/block, for a loop device has no serial of its
 * own.
 */
export class MountLab {
  readonly work = mkdtempSync(join(tmpdir(), "zone-mount-"));
  readonly #loops: string[] = [];
  #agent: RunningAgent | undefined;

  static async start(): Promise<MountLab> {
    const lab = new MountLab();
    for (const name of ["dev", "sys-block"]) mkdirSync(join(lab.work, name));
    lab.#agent = await RunningAgent.start("", {
      ZONE_SYS_BLOCK: join(lab.work, "sys-block"),
      ZONE_DEV: join(lab.work, "dev"),
    });
    return lab;
  }

  get agent(): RunningAgent {
    if (!this.#agent) throw new Error("the lab has not been started");
    return this.#agent;
  }

  get mounts() {
    return createClient(MountService, this.agent.session.client);
  }

  /** A path in the agent's /run/zone. */
  run(...names: string[]): string {
    return join(this.agent.directory, "run", ...names);
  }

  /** What is mounted in the agent's folder, without that folder's path; the agent's mounts are this process's. */
  mounted(): { target: string; type: string; options: readonly string[] }[] {
    const infos = parseMountInfo(readFileSync("/proc/self/mountinfo", "latin1"));
    const prefix = this.run();
    return infos
      .filter(({ target }) => target.startsWith(prefix))
      .map(({ target, type, options }) => ({ target: target.slice(prefix.length), type, options }));
  }

  /** A disk with an empty ext4 or xfs. */
  disk(serial: string, type: "ext4" | "xfs", mib: number, options: { readOnly?: boolean } = {}): string {
    const file = join(this.work, `${serial}.img`);
    writeFileSync(file, "");
    truncateSync(file, mib * MIB);
    execFileSync(`mkfs.${type}`, ["-q", file], { stdio: "pipe" });
    return this.attach(file, serial, options);
  }

  /** A disk with an erofs of busybox and these files: a container's image. */
  image(serial: string, files: Record<string, string> = {}): string {
    const root = join(this.work, serial);
    mkdirSync(join(root, "bin"), { recursive: true });
    execFileSync("cp", ["/bin/busybox", join(root, "bin/busybox")]);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(root, path, ".."), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return this.erofs(serial, root);
  }

  /** A disk with an erofs of a folder. */
  erofs(serial: string, root: string): string {
    const file = join(this.work, `${serial}.erofs`);
    execFileSync("mkfs.erofs", ["-x-1", file, root], { stdio: "ignore" });
    return this.attach(file, serial, { readOnly: true });
  }

  /** The loop device of a file, as the disk with this serial. */
  attach(file: string, serial: string, options: { readOnly?: boolean } = {}): string {
    const readOnly = options.readOnly ? ["--read-only"] : [];
    const device = execFileSync("losetup", [...readOnly, "--show", "-f", file], { encoding: "utf8" }).trim();
    this.#loops.push(device);
    const block = join(this.work, "sys-block", `zz-${serial}`);
    mkdirSync(block, { recursive: true });
    symlinkSync(device, join(this.work, "dev", `zz-${serial}`));
    writeFileSync(join(block, "serial"), `${serial}\n`);
    return device;
  }

  /** Makes a disk larger. */
  grow(serial: string, device: string, mib: number): void {
    truncateSync(join(this.work, `${serial}.img`), mib * MIB);
    execFileSync("losetup", ["-c", device]);
  }

  async end(): Promise<void> {
    for (const { target } of this.mounted().reverse()) execFileSync("umount", ["-l", this.run(target.slice(1))]);
    await this.#agent?.stop();
    for (const device of this.#loops) execFileSync("losetup", ["-d", device]);
    rmSync(this.work, { recursive: true, force: true });
  }
}
