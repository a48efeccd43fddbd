import type { Container } from "../container/container.js";
import type { CreatedInit, InitStdio } from "../container/oci/crun.js";
import { lateTty } from "./late-tty.js";
import type { ProcessSpec } from "./spec.js";
import { type AgentStdio, type ChildStdio, openStdio } from "./stdio.js";

/** What makes containers of bundles: crun, for a container of the table's. */
export interface OciRuntime {
  create(container: Container, stdio: InitStdio): Promise<CreatedInit>;
  start(container: Container): Promise<void>;
  /** Removes what `create` has made, if anything. */
  discard(container: Container): Promise<void>;
  /** Whether its init was made, and not started. */
  waiting(container: Container): boolean;
}

/** A tty's size when neither the client nor the bundle has said one. */
const TTY_SIZE = { rows: 24, columns: 80 };

/** The init of an OCI bundle on its way: made by crun, taken over by PID 1, then started by crun. */
export class OciInit {
  /** The process's ends for the agent. */
  readonly stdio: AgentStdio | undefined;
  readonly #container: Container;
  readonly #runtime: OciRuntime;
  readonly #child: ChildStdio | undefined;
  readonly #bind: (master: number) => void;
  #created: Promise<number> | undefined;

  private constructor(
    container: Container,
    runtime: OciRuntime,
    stdio: { agent: AgentStdio | undefined; child?: ChildStdio; bind?: (master: number) => void },
  ) {
    this.#container = container;
    this.#runtime = runtime;
    this.stdio = stdio.agent;
    this.#child = stdio.child;
    this.#bind = stdio.bind ?? (() => {});
  }

  /** Opens the stdio of a new one; whether it is a tty is the bundle's to say. */
  static open(container: Container, runtime: OciRuntime, spec: ProcessSpec): OciInit {
    const bundle = container.config?.process;
    if (!bundle?.terminal) return new OciInit(container, runtime, openStdio({ tty: undefined, stdin: spec.stdin }));
    return new OciInit(container, runtime, lateTty(spec.tty ?? bundle.consoleSize ?? TTY_SIZE, spec.stdin));
  }

  /** One that an earlier agent has made and not started. */
  static made(container: Container, runtime: OciRuntime, pid: number): OciInit {
    const init = new OciInit(container, runtime, { agent: undefined });
    init.#created = Promise.resolve(pid);
    return init;
  }

  /** Makes it, once; its pid. `adopt` is called with that when its descriptors are there. */
  create(adopt: (pid: number) => Promise<void>): Promise<number> {
    this.#created ??= this.#make(adopt);
    return this.#created;
  }

  async start(): Promise<void> {
    await this.#runtime.start(this.#container);
  }

  /** Closes the child's ends, and removes what was made. */
  async discard(): Promise<void> {
    this.#child?.close();
    if (!this.#created) return;
    await this.#created.catch(() => {});
    await this.#runtime.discard(this.#container);
  }

  async #make(adopt: (pid: number) => Promise<void>): Promise<number> {
    const uid = this.#container.config?.process.user.uid ?? 0;
    const stdio: InitStdio = this.#child ? { kind: "descriptors", fds: this.#child.take(uid) } : { kind: "console" };
    const { pid, master } = await this.#runtime.create(this.#container, stdio);
    if (master !== undefined) this.#bind(master);
    await adopt(pid);
    return pid;
  }
}
