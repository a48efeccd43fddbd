import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openSession, type Session } from "@zone/link";
import {
  ContainerService,
  createClient,
  FileService,
  NetworkService,
  ProcessService,
  SystemService,
} from "@zone/proto";
import { Exec, type ExecOptions } from "./exec.js";

const ZONE_INIT = fileURLToPath(new URL("../../../native/build/zone-init", import.meta.url));
const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const TIMEOUT_MS = 50_000; // below the test runner's, so that the error is ours

/** The real agent under the real PID 1, outside a zone: `zone-init --foreground`, a Unix link, processes of this host. */
export class RunningAgent {
  readonly directory: string;
  readonly #init: ChildProcess;
  session: Session;

  private constructor(directory: string, init: ChildProcess, session: Session) {
    this.directory = directory;
    this.#init = init;
    this.session = session;
  }

  /**
   * `parameters` are added to the kernel command line, `env` to the agent's environment. `wrapper` runs PID 1 in its own place:
   * unshare(1) with what is to be the agent's own.
   */
  static async start(
    parameters = "",
    env: Record<string, string> = {},
    wrapper: readonly string[] = [],
  ): Promise<RunningAgent> {
    for (const file of [ZONE_INIT, MAIN]) {
      if (!existsSync(file)) throw new Error(`${file} is missing: run "npm run native && npx tsc -b agent"`);
    }
    const directory = mkdtempSync(join(tmpdir(), "zone-agent-"));
    const [program = ZONE_INIT, ...args] = [...wrapper, ZONE_INIT, "--foreground", "--", process.execPath, MAIN];
    const init = spawn(program, args, {
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        PATH: process.env.PATH,
        ZONE_CMDLINE: `zone.link=unix:${join(directory, "link.sock")} ${parameters}`,
        ZONE_RUN: join(directory, "run"),
        ZONE_CGROUPS: join(directory, "no-cgroups"),
        ZONE_TRUE: ZONE_INIT,
        ZONE_CRUN: "/usr/bin/crun",
        ...env,
      },
    });
    try {
      return new RunningAgent(directory, init, await connect(directory));
    } catch (error) {
      init.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  get processes() {
    return createClient(ProcessService, this.session.client);
  }

  get network() {
    return createClient(NetworkService, this.session.client);
  }

  get system() {
    return createClient(SystemService, this.session.client);
  }

  get files() {
    return createClient(FileService, this.session.client);
  }

  get containers() {
    return createClient(ContainerService, this.session.client);
  }

  /** An Attach with a spec, or to an existing process. */
  exec(options: ExecOptions): Exec {
    return new Exec(this.processes, options);
  }

  /** A shell script's attachment. */
  shell(script: string, options: ExecOptions = {}): Exec {
    const { spec, ...rest } = options;
    return this.exec({ ...rest, spec: { argv: ["/bin/sh", "-c", script].map((text) => Buffer.from(text)), ...spec } });
  }

  /** A second session: another bridge. */
  connect(): Promise<Session> {
    return connect(this.directory);
  }

  /** The agent's pid: PID 1's only child with our entry in its command line. */
  get agentPid(): number {
    const children = readFileSync(`/proc/${this.#init.pid}/task/${this.#init.pid}/children`, "latin1")
      .trim()
      .split(" ");
    const pid = children.find((child) => readFileSync(`/proc/${child}/cmdline`, "latin1").includes(MAIN));
    if (pid === undefined) throw new Error("no agent runs");
    return Number(pid);
  }

  /** PID 1's pid: a process in the agent's namespaces. */
  get initPid(): number {
    if (this.#init.pid === undefined) throw new Error("PID 1 does not run");
    return this.#init.pid;
  }

  /** Kills the agent and settles when PID 1 has started the next one and it serves. */
  async killAgent(): Promise<void> {
    const before = this.agentPid;
    process.kill(before, "SIGKILL");
    await this.session.closed;
    this.session = await connect(this.directory);
  }

  /** Open descriptors of the agent or PID 1. */
  descriptors(of: "agent" | "init"): number {
    return readdirSync(`/proc/${of === "agent" ? this.agentPid : this.#init.pid}/fd`).length;
  }

  /** Resident set of the agent in bytes. */
  rss(): number {
    const status = readFileSync(`/proc/${this.agentPid}/status`, "latin1");
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024;
  }

  /** Ends the agent, PID 1 and all that they started; PID 1's exit status. */
  async stop(): Promise<number | null> {
    await this.session.close().catch(() => {});
    const exited = this.#init.exitCode === null ? once(this.#init, "exit") : [this.#init.exitCode];
    this.#init.kill("SIGTERM");
    const [code] = (await exited) as [number | null];
    rmSync(this.directory, { recursive: true, force: true });
    return code;
  }

  /** Settles with PID 1's exit status when it ends by itself. */
  async ended(): Promise<number | null> {
    if (this.#init.exitCode !== null) return this.#init.exitCode;
    return ((await once(this.#init, "exit")) as [number | null])[0];
  }
}

/** Opens a session as soon as the agent listens. */
async function connect(directory: string): Promise<Session> {
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    try {
      return await openSession(`unix:${join(directory, "link.sock")}`, { zoneId: "", timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await setTimeout(20); // there is nothing to wait for but a socket that is not there yet
    }
  }
}
