import { readFileSync, readlinkSync } from "node:fs";
import { dup, openPty } from "../descriptors.js";
import { SpawnError } from "../init-types.js";
import type { SpawnSpec } from "../spawn-types.js";
import { streamFromFd } from "../stream.js";
import { ContainerRoot } from "./container-root.js";
import { collect, type Finished, InitUnderTest, specOf } from "./init-under-test.js";

/** The namespace of a process, as ls -l /proc/PID/ns shows it. */
export const namespaceOf = (pid: number | "self", name: string) => readlinkSync(`/proc/${pid}/ns/${name}`);

/** The children of a process that has one thread. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

/** Until `holds`: what is waited for is another process's doing, of which nobody tells us. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** PID 1, and a root for containers. */
export class ContainerUnderTest {
  private constructor(
    readonly init: InitUnderTest,
    readonly root: ContainerRoot,
  ) {}

  static async start(): Promise<ContainerUnderTest> {
    return new ContainerUnderTest(await InitUnderTest.start(), new ContainerRoot());
  }

  async stop(): Promise<void> {
    await this.init.stop();
    this.root.remove();
  }

  /** The first process of a container. */
  spec(argv: string[], more: Partial<SpawnSpec> = {}): SpawnSpec {
    return specOf(argv, { newContainer: true, root: this.root.path, env: ["PATH=/bin"], ...more });
  }

  /** Starts one that stays. */
  startSleeper(more: Partial<SpawnSpec> = {}): Promise<{ token: bigint; pid: number }> {
    return this.init.startQuiet(this.spec(["sleep", "1000"], more));
  }

  /** Runs a shell script as a container's first process; what it wrote, to both, and its exit. */
  async sh(script: string, more: Partial<SpawnSpec> = {}): Promise<string> {
    return textOf(await this.init.run(this.spec(["sh", "-c", script], more)));
  }

  /** The same as an exec in the container of the process `token`. */
  async exec(token: bigint, script: string, more: Partial<SpawnSpec> = {}): Promise<string> {
    return textOf(await this.init.run(specOf(["sh", "-c", script], { join: token, env: ["PATH=/bin"], ...more })));
  }

  /** How a spawn fails; undefined when it does not. */
  failure(spec: SpawnSpec): Promise<{ stage: string; code: string } | undefined> {
    return this.init.run(spec).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof SpawnError) return { stage: error.stage, code: error.code };
        throw error;
      },
    );
  }

  /** Runs a process on a tty, to which `input` is written once it has said `after`; what it wrote, with line ends as \n. */
  async onTty(spec: SpawnSpec, input = "", after = ""): Promise<{ output: string; token: bigint }> {
    const { master, slave } = openPty(24, 80);
    const token = this.init.token();
    const stream = streamFromFd(master, { readable: true, writable: true });
    const output = collect(stream);
    let said = "";
    const answer = (chunk: Buffer) => {
      said += chunk;
      if (!after || !said.includes(after)) return;
      stream.off("data", answer);
      stream.write(input);
    };
    stream.on("data", answer);
    const stdio: [number, number, number] = [slave, dup(slave), dup(slave)];
    await this.init.client.spawn(token, { ...spec, tty: true }, { stdio, kept: [] });
    if (!after) stream.write(input);
    await this.init.exitOf(token);
    return { output: (await output).toString().replaceAll("\r\n", "\n"), token };
  }
}

function textOf({ stdout, stderr }: Finished): string {
  return `${stdout}${stderr}`.replace(/\n$/, "");
}
