import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { addon, POLL_READABLE } from "../addon.js";
import { closeFd, dup, socketFd } from "../descriptors.js";

/** Generous: no test may fail because the machine is slow. */
export const TIMEOUT_MS = 120_000;
export const isRoot = process.getuid?.() === 0;
export const ZONE_INIT = process.env.ZONE_INIT ?? fileURLToPath(new URL("../../build/zone-init", import.meta.url));
const ADDON = fileURLToPath(new URL("../../build/zone.node", import.meta.url));
const AGENT = fileURLToPath(new URL("../../test/hand-over.cjs", import.meta.url));

/** An agent process and its end of the control socket, which the test uses in its stead. */
export interface Agent {
  pid: number;
  control: number;
}

/** `zone-init --foreground` with agents that hand their control socket over. */
export class Foreground {
  readonly #child: ChildProcess;
  readonly #server: Server;
  readonly #dir: string;
  readonly #waiting: ((agent: Agent) => void)[] = [];
  readonly #agents: Agent[] = [];
  #stderr = "";

  private constructor(child: ChildProcess, server: Server, dir: string) {
    this.#child = child;
    this.#server = server;
    this.#dir = dir;
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr += chunk;
    });
    server.on("connection", (socket) => {
      takeControl(socket, (agent) => {
        const waiter = this.#waiting.shift();
        if (waiter) waiter(agent);
        else this.#agents.push(agent);
      });
    });
  }

  static async start(): Promise<Foreground> {
    if (!existsSync(ZONE_INIT)) throw new Error(`${ZONE_INIT} is missing: run "make -C native" first`);
    const dir = mkdtempSync(join(tmpdir(), "zone-init-"));
    const path = join(dir, "agent.sock");
    const server = createServer({ pauseOnConnect: true });
    server.listen(path);
    await once(server, "listening");
    const child = spawn(ZONE_INIT, ["--foreground", "--", process.execPath, AGENT], {
      stdio: ["ignore", "inherit", "pipe"],
      env: { ...process.env, TEST_ADDON: ADDON, TEST_SOCKET: path },
    });
    return new Foreground(child, server, dir);
  }

  /** The agent that runs, or the next one. */
  agent(): Promise<Agent> {
    const known = this.#agents.shift();
    return known ? Promise.resolve(known) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stderr(): string {
    return this.#stderr;
  }

  openDescriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** The exit status, when it has ended. */
  async ended(): Promise<number | null> {
    if (this.running) await once(this.#child, "exit");
    return this.#child.exitCode;
  }

  /** Ends it, and whatever it runs. Throws what it said when its end was not clean (a sanitizer's report, for instance). */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    const code = await this.ended();
    this.#server.close();
    for (const agent of this.#agents) closeFd(agent.control);
    rmSync(this.#dir, { recursive: true });
    if (code !== 0) throw new Error(`zone-init ended with ${code}: ${this.#stderr}`);
  }
}

/** One SCM_RIGHTS message from hand-over.cjs. The connection stays, so that the agent sees it end with the test. */
function takeControl(socket: Socket, onAgent: (agent: Agent) => void): void {
  // On a duplicate: libuv allows one watcher per descriptor number, and the socket's has no room for descriptors.
  const fd = dup(socketFd(socket));
  const poll = addon().pollStart(fd, POLL_READABLE, () => {
    const bytes = Buffer.alloc(32);
    const packet = addon().receivePacket(fd, bytes);
    if (!packet) return;
    addon().pollStop(poll);
    closeFd(fd);
    const control = packet.fds[0];
    if (control !== undefined) onAgent({ pid: Number(bytes.toString("utf8", 0, packet.length)), control });
    socket.resume();
    socket.on("error", () => {}); // the agent was killed
  });
}
