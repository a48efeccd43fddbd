import { closeSync, openSync } from "node:fs";
import {
  closeFd,
  dup,
  type InitClient,
  type Exit as InitExit,
  type InitRecord,
  type NamespaceChoice,
  pipe,
  type SpawnSpec,
  streamFromFd,
} from "@zone/native";
import { ALL_CAPABILITIES, capabilitySets } from "./capabilities.js";
import { DEFAULT_PATH } from "./environment.js";

/** How a tool runs. */
export interface ToolOptions {
  namespaces?: NamespaceChoice;
  /** The tool's descriptors, which are closed here; /dev/null without. */
  stdio?: [number, number, number];
  /** Instead of stdio: what it writes to stdout and stderr is kept, up to so many bytes. */
  outputBytes?: number;
  /** It is killed when it has run so long. */
  timeoutMs?: number;
}

export interface ToolResult {
  /** 0 when a signal has ended it. */
  code: number;
  signal: number;
  output: string;
}

/** A tool that goes on running, by the name that it was given. */
interface Service {
  token: bigint;
  pid: number;
}

/** Of a tool's meta, by which a restarted agent knows it. */
interface ToolMeta {
  tool: string;
  service: boolean;
}

/**
 * Programs of the agent's own that PID 1 runs for it in the zone: crun, and processes that hold namespaces. Clients do not
 * see them. A service goes on when the agent is restarted, and is found again by its name.
 */
export class Tools {
  readonly #init: InitClient;
  readonly #nextToken: () => bigint;
  readonly #openCgroup: () => number | undefined;
  readonly #services = new Map<string, Service>();
  readonly #starting = new Map<string, Promise<Service>>();
  readonly #waiting = new Map<bigint, (exit: InitExit) => void>();

  /** `openCgroup` gives what tools run in, as a descriptor that is closed here: PID 1's own cgroup has no limits. */
  constructor(init: InitClient, nextToken: () => bigint, openCgroup: () => number | undefined) {
    this.#init = init;
    this.#nextToken = nextToken;
    this.#openCgroup = openCgroup;
  }

  /** Runs a program to its end. Rejects with SpawnError when it cannot be executed. */
  async run(argv: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    const output = options.outputBytes === undefined ? undefined : new Output(options.outputBytes);
    const token = this.#nextToken();
    const exited = new Promise<InitExit>((resolve) => this.#waiting.set(token, resolve));
    let timer: NodeJS.Timeout | undefined;
    try {
      await this.#spawn(token, argv, output ? { ...options, stdio: output.stdio } : options, false);
      if (options.timeoutMs !== undefined) timer = setTimeout(() => this.#init.kill(token, 9), options.timeoutMs);
      const { code, signal } = await exited;
      return { code, signal, output: (await output?.text()) ?? "" };
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(token);
      output?.close();
    }
  }

  /** Starts a program that goes on, unless one of that name runs; its token. */
  async service(name: string, argv: readonly string[], options: ToolOptions = {}): Promise<bigint> {
    const there = this.#services.get(name) ?? (await this.#starting.get(name));
    if (there) return there.token;
    const started = this.#startService(name, argv, options);
    this.#starting.set(name, started);
    try {
      return (await started).token;
    } finally {
      this.#starting.delete(name);
    }
  }

  /** Ends a service; nothing happens when none of that name runs. */
  stop(name: string): void {
    const service = this.#services.get(name);
    if (!service) return;
    this.#services.delete(name);
    this.#init.kill(service.token, 9);
  }

  /** Takes the exit of a tool; false when it is none's. */
  exited(exit: InitExit & { token: bigint }): boolean {
    const waiting = this.#waiting.get(exit.token);
    if (!waiting) return false;
    this.#waiting.delete(exit.token);
    this.#init.release(exit.token);
    for (const [name, { token }] of this.#services) if (token === exit.token) this.#services.delete(name);
    waiting(exit);
    return true;
  }

  /** Takes up a tool that an earlier agent has started; false when the record is of none. */
  recover(record: InitRecord): boolean {
    const meta = readMeta(record.spec.meta);
    if (!meta) return false;
    const { token, pid } = record;
    for (const fd of record.kept) if (fd !== undefined) closeFd(fd);
    if (record.exited) {
      this.#init.release(token);
      return true;
    }
    this.#waiting.set(token, () => {});
    if (meta.service) this.#services.set(meta.tool, { token, pid });
    return true;
  }

  async #startService(name: string, argv: readonly string[], options: ToolOptions): Promise<Service> {
    const token = this.#nextToken();
    this.#waiting.set(token, () => {});
    try {
      const { pid } = await this.#spawn(token, argv, options, true, name);
      const service = { token, pid };
      // It may have ended already.
      if (this.#waiting.has(token)) this.#services.set(name, service);
      return service;
    } catch (error) {
      this.#waiting.delete(token);
      throw error;
    }
  }

  async #spawn(
    token: bigint,
    argv: readonly string[],
    { namespaces, stdio }: ToolOptions,
    service: boolean,
    name: string = argv[0] ?? "",
  ): Promise<{ pid: number }> {
    const spec: SpawnSpec = {
      ...{ uid: 0, gid: 0, groups: [], umask: 0o022, oomScoreAdj: 0, rlimits: [] },
      ...{ argv, env: [`PATH=${DEFAULT_PATH}`, "HOME=/run"], root: "", cwd: "/", hostname: "" },
      ...(namespaces ? { namespaces } : {}),
      capabilities: capabilitySets(ALL_CAPABILITIES, 0),
      meta: JSON.stringify({ tool: name, service } satisfies ToolMeta),
    };
    let cgroup: number | undefined;
    let given = stdio;
    try {
      cgroup = this.#openCgroup();
      const fds = given ?? nullStdio();
      given = undefined;
      return await this.#init.spawn(token, spec, { stdio: fds, kept: [], cgroup });
    } finally {
      for (const fd of given ?? []) closeFd(fd);
      if (cgroup !== undefined) closeSync(cgroup);
    }
  }
}

function readMeta(text: string): ToolMeta | undefined {
  try {
    const { tool, service } = JSON.parse(text) as Partial<ToolMeta>;
    return typeof tool === "string" && typeof service === "boolean" ? { tool, service } : undefined;
  } catch {
    return undefined; // another program's
  }
}

function nullStdio(): [number, number, number] {
  const fds: number[] = [];
  try {
    for (let i = 0; i < 3; i++) fds.push(openSync("/dev/null", "r+"));
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
  return fds as [number, number, number];
}

/** A tool's stdout and stderr in one pipe, and /dev/null as its stdin. */
class Output {
  readonly stdio: [number, number, number];
  readonly #stream: ReturnType<typeof streamFromFd>;
  readonly #ended: Promise<void>;
  readonly #chunks: Buffer[] = [];

  constructor(bytes: number) {
    const { read, write } = pipe();
    const opened = [read, write];
    try {
      opened.push(dup(write));
      this.stdio = [openSync("/dev/null", "r"), write, opened[2] ?? -1];
    } catch (error) {
      for (const fd of opened) closeFd(fd);
      throw error;
    }
    this.#stream = streamFromFd(read, { readable: true, writable: false });
    let left = bytes;
    this.#stream.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk.subarray(0, left));
      left -= Math.min(chunk.length, left);
    });
    this.#ended = new Promise((resolve) => {
      this.#stream.once("close", () => resolve());
      this.#stream.once("end", () => resolve());
      this.#stream.once("error", () => resolve());
    });
  }

  async text(): Promise<string> {
    await this.#ended;
    return Buffer.concat(this.#chunks).toString("utf8");
  }

  close(): void {
    this.#stream.destroy();
  }
}
