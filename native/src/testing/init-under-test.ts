import type { Readable } from "node:stream";
import { closeFd, dup, pipe } from "../descriptors.js";
import { InitClient } from "../init-client.js";
import type { ProcessExit, RequestError, SpawnDescriptors } from "../init-types.js";
import type { SpawnSpec } from "../spawn-types.js";
import { streamFromFd } from "../stream.js";
import { Foreground } from "./foreground.js";

export const ALL_CAPABILITIES = 0xffff_ffff_ffff_ffffn;

/** A process of the zone itself, as root with all capabilities. */
export function specOf(argv: readonly (string | Uint8Array)[], more: Partial<SpawnSpec> = {}): SpawnSpec {
  const all = ALL_CAPABILITIES;
  return {
    argv,
    env: ["PATH=/usr/bin:/bin"],
    cwd: "/",
    root: "",
    hostname: "",
    meta: "",
    uid: 0,
    gid: 0,
    groups: [],
    umask: 0o022,
    oomScoreAdj: 0,
    rlimits: [],
    capabilities: { bounding: all, permitted: all, effective: all, inheritable: 0n, ambient: 0n },
    ...more,
  };
}

export interface Finished {
  pid: number;
  stdout: Buffer;
  stderr: Buffer;
  exit: ProcessExit;
}

/** zone-init with a client that speaks for its agent. */
export class InitUnderTest {
  readonly init: Foreground;
  client: InitClient;
  agentPid: number;
  readonly #errors: RequestError[] = [];
  readonly #exits = new Map<bigint, ProcessExit>();
  readonly #exitWaiters = new Map<bigint, (exit: ProcessExit) => void>();
  #nextToken = 1n;

  private constructor(init: Foreground, client: InitClient, agentPid: number) {
    this.init = init;
    this.client = client;
    this.agentPid = agentPid;
    this.#adopt();
  }

  static async start(): Promise<InitUnderTest> {
    const init = await Foreground.start();
    const { pid, control } = await init.agent();
    return new InitUnderTest(init, await InitClient.open(control), pid);
  }

  token(): bigint {
    return this.#nextToken++;
  }

  /** Kills the agent with SIGKILL and speaks for the next one. */
  async restartAgent(): Promise<void> {
    const before = this.client;
    process.kill(this.agentPid, "SIGKILL");
    await this.nextAgent();
    before.close();
  }

  /** Speaks for the agent that PID 1 has started anew. */
  async nextAgent(): Promise<void> {
    const { pid, control } = await this.init.agent();
    this.agentPid = pid;
    this.client = await InitClient.open(control);
    this.#adopt();
  }

  exitOf(token: bigint): Promise<ProcessExit> {
    const known = this.#exits.get(token);
    if (known) return Promise.resolve(known);
    return new Promise((resolve) => this.#exitWaiters.set(token, resolve));
  }

  /** The next failed request. */
  async error(): Promise<RequestError> {
    for (;;) {
      const error = this.#errors.shift();
      if (error) return error;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Starts a process on /dev/null-like pipes whose other ends are closed. */
  async startQuiet(spec: SpawnSpec, more: Partial<SpawnDescriptors> = {}): Promise<{ token: bigint; pid: number }> {
    const token = this.token();
    const [stdin, stdout] = [pipe(), pipe()];
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    closeFd(stdin.write);
    try {
      return { token, ...(await this.client.spawn(token, spec, { kept: [], ...more, stdio })) };
    } finally {
      closeFd(stdout.read);
    }
  }

  /** Runs a process to its end. */
  async run(spec: SpawnSpec, options: { stdin?: Buffer; cgroup?: number } = {}): Promise<Finished> {
    const token = this.token();
    const [stdin, stdout, stderr] = [pipe(), pipe(), pipe()];
    const out = collect(streamFromFd(stdout.read, { readable: true, writable: false }));
    const err = collect(streamFromFd(stderr.read, { readable: true, writable: false }));
    const input = streamFromFd(stdin.write, { readable: false, writable: true });
    input.on("error", () => {}); // EPIPE: it ended without reading all
    input.end(options.stdin ?? Buffer.alloc(0));
    const stdio: [number, number, number] = [stdin.read, stdout.write, stderr.write];
    const { pid } = await this.client.spawn(token, spec, { stdio, kept: [], cgroup: options.cgroup });
    const exit = await this.exitOf(token);
    this.client.release(token);
    return { pid, stdout: await out, stderr: await err, exit };
  }

  /** Runs a shell script, which must succeed, and gives its output without the last line end. */
  async shell(script: string, more: Partial<SpawnSpec> = {}): Promise<string> {
    const { stdout, stderr, exit } = await this.run(specOf(["sh", "-c", script], more));
    if (exit.code !== 0 || exit.signal !== 0)
      throw new Error(`${script}: exit ${exit.code}, signal ${exit.signal}: ${stderr}`);
    return stdout.toString().replace(/\n$/, "");
  }

  /** At once: a container's first process does not mind SIGTERM. */
  async stop(): Promise<void> {
    if (this.init.running) this.client.powerOff(0);
    await this.init.ended();
    this.client.close();
    await this.init.stop();
  }

  #adopt(): void {
    this.client.onError = (error) => this.#errors.push(error);
    this.client.onExit = (exit) => {
      this.#exits.set(exit.token, exit);
      this.#exitWaiters.get(exit.token)?.(exit);
    };
  }
}

/** All bytes up to the end. By events: `for await` would destroy a Duplex, whose other half may be in use. */
export function collect(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("end", () => resolve(Buffer.concat(chunks)));
    stream.once("error", reject);
  });
}
