import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { closeFd, receiveFd, socketFd } from "@zone/native";
import type { Code, ZoneError } from "@zone/proto";
import { agentError, describe } from "../../errors.js";
import type { Tools } from "../../process/tools.js";
import { CONTAINER_LIMITS } from "../limits.js";
import { type BundlePlace, bundleConfig, type OciConfig } from "./config.js";

export interface CrunPaths {
  /** "/bin/crun" */
  program: string;
  /** Where crun keeps its own state, /run/zone/crun. */
  root: string;
}

/** What the init of a bundle gets as its stdio: descriptors, which are closed here, or a tty that crun opens. */
export type InitStdio = { kind: "descriptors"; fds: [number, number, number] } | { kind: "console" };

/** An init that crun has made and that waits for its start. */
export interface CreatedInit {
  pid: number;
  /** The tty's master, which is the caller's; undefined without a console. */
  master: number | undefined;
}

/** A bundle on the container's own tmpfs: BASE/oci. */
export interface Bundle {
  id: string;
  base: string;
  config: OciConfig;
  place: BundlePlace;
}

/**
 * crun(1), which makes containers of OCI bundles. It is run by PID 1 in the zone: what it makes is PID 1's orphan when it has
 * ended, and is adopted. Its container waits on a FIFO until `start`.
 */
export class Crun {
  readonly #tools: Tools;
  readonly #paths: CrunPaths;
  readonly #deleting = new Map<string, Promise<void>>();

  constructor(tools: Tools, paths: CrunPaths) {
    this.#tools = tools;
    this.#paths = paths;
  }

  /** Throws CRUN_FAILED with crun's own message, or EXEC_NOT_FOUND and EXEC_NOT_EXECUTABLE where it is that. */
  async create(bundle: Bundle, stdio: InitStdio): Promise<CreatedInit> {
    const { id, base } = bundle;
    const folder = join(base, "oci");
    const pidFile = join(folder, "pid");
    let handed = stdio.kind === "console";
    try {
      // What a create that was cut off has left: it has no init that anybody knows of.
      if (this.#knows(id)) await this.delete(bundle);
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { mode: 0o700 });
      mkdirSync(this.#paths.root, { recursive: true, mode: 0o700 });
      writeFileSync(join(folder, "config.json"), bundleConfig(bundle.config, bundle.place));
      const create = ["create", "--bundle", folder, "--pid-file", pidFile];
      if (stdio.kind === "descriptors") {
        handed = true;
        await this.#run(bundle, [...create, id], stdio.fds);
        return { pid: Number(readFileSync(pidFile, "latin1")), master: undefined };
      }
      const console = await ConsoleSocket.listen(join(folder, "console.sock"));
      try {
        await this.#run(bundle, [...create, "--console-socket", console.path, id], undefined);
        const master = await console.master;
        return { pid: Number(readFileSync(pidFile, "latin1")), master };
      } catch (error) {
        console.abandon();
        throw error;
      } finally {
        console.close();
      }
    } catch (error) {
      if (!handed && stdio.kind === "descriptors") for (const fd of stdio.fds) closeFd(fd);
      if (this.#knows(id)) await this.delete(bundle);
      throw error;
    }
  }

  async start(bundle: Bundle): Promise<void> {
    await this.#run(bundle, ["start", bundle.id], undefined);
  }

  /** Kills what is left of it and makes crun forget it; what crun does not know is no error. */
  delete(bundle: Bundle): Promise<void> {
    const { id } = bundle;
    const underWay = this.#deleting.get(id);
    if (underWay) return underWay;
    if (!this.#knows(id)) return Promise.resolve();
    const deleted = this.#run(bundle, ["delete", "--force", id], undefined).finally(() => this.#deleting.delete(id));
    this.#deleting.set(id, deleted);
    return deleted;
  }

  /** Whether its init was made and not started. */
  waiting(id: string): boolean {
    return existsSync(join(this.#paths.root, id, "exec.fifo"));
  }

  #knows(id: string): boolean {
    return existsSync(join(this.#paths.root, id));
  }

  async #run(bundle: Bundle, command: readonly string[], stdio: [number, number, number] | undefined): Promise<void> {
    const { program, root } = this.#paths;
    const log = join(bundle.base, "oci", "crun.log");
    rmSync(log, { force: true });
    const manager = bundle.place.cgroupsPath === undefined ? "disabled" : "cgroupfs";
    const argv = [
      program,
      "--root",
      root,
      "--log",
      log,
      "--log-format",
      "json",
      "--cgroup-manager",
      manager,
      ...command,
    ];
    let failed: string | undefined;
    try {
      const options = { timeoutMs: CONTAINER_LIMITS.crunMs, ...(stdio ? { stdio } : {}) };
      const { code, signal } = await this.#tools.run(argv, options);
      if (code === 0 && signal === 0) return;
      if (signal !== 0) failed = `signal ${signal} has ended it`;
    } catch (error) {
      failed = describe(error);
    }
    throw crunError(command[0] ?? "", bundle.id, failed ?? lastError(log) ?? "it does not say why");
  }
}

/** The last error of a log that crun wrote as lines of JSON. */
export function lastError(log: string): string | undefined {
  if (!existsSync(log)) return undefined;
  const text = readFileSync(log).subarray(-CONTAINER_LIMITS.crunLogBytes).toString("utf8");
  for (const line of text.split("\n").reverse()) {
    try {
      const { msg, level } = JSON.parse(line) as { msg?: unknown; level?: unknown };
      if (level === "error" && typeof msg === "string") return msg.slice(0, 2000);
    } catch {
      // the empty end, or a line that was cut off
    }
  }
  return undefined;
}

/** What crun says of the program that it is to execute; all else is its own trouble. */
const EXEC_FAILURES: [pattern: RegExp, code: Code, reason: string][] = [
  [/^executable file `.*` not found/, "NOT_FOUND", "EXEC_NOT_FOUND"],
  [/^open executable: No such file/, "NOT_FOUND", "EXEC_NOT_FOUND"],
  [/^open executable: /, "PERMISSION_DENIED", "EXEC_NOT_EXECUTABLE"],
  [/^exec container process `.*`: No such file/, "NOT_FOUND", "EXEC_NOT_FOUND"],
  [/^exec container process `.*`: /, "PERMISSION_DENIED", "EXEC_NOT_EXECUTABLE"],
];

export function crunError(command: string, id: string, message: string): ZoneError {
  for (const [pattern, code, reason] of EXEC_FAILURES) {
    if (pattern.test(message)) return agentError(code, reason, `cannot start the init of "${id}": ${message}`);
  }
  return agentError("INTERNAL", "CRUN_FAILED", `crun ${command} of container "${id}": ${message}`, {
    metadata: { command },
    resource: { type: "container", name: id },
  });
}

/** The Unix socket through which crun hands over a tty's master. */
class ConsoleSocket {
  readonly path: string;
  readonly master: Promise<number>;
  readonly #server: Server;
  readonly #abort = new AbortController();

  private constructor(path: string, server: Server, connected: Promise<Socket>) {
    this.path = path;
    this.#server = server;
    this.master = connected.then(async (socket) => {
      try {
        const { fd } = await receiveFd(socketFd(socket), { signal: this.#abort.signal });
        return fd;
      } finally {
        socket.destroy();
      }
    });
    this.master.catch(() => {}); // who waits for it is told
  }

  static listen(path: string): Promise<ConsoleSocket> {
    return new Promise((resolve, reject) => {
      // Nothing may be read by Node: the descriptor comes with the bytes.
      const server = createServer({ pauseOnConnect: true });
      const connected = new Promise<Socket>((connect) => server.once("connection", connect));
      server.once("error", reject);
      server.listen(path, () => resolve(new ConsoleSocket(path, server, connected)));
    });
  }

  /** Nobody takes the master any more. */
  abandon(): void {
    this.#abort.abort(new Error("crun has failed"));
    this.master.then(closeFd, () => {});
  }

  close(): void {
    this.#server.close();
  }
}
