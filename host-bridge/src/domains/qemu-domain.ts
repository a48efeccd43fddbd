import type { Socket } from "node:net";
import { bridgeError, errorMessage } from "../errors.js";
import { type Companion, whyEnded } from "./companions.js";
import { ConsoleLog, readConsole } from "./console-log.js";
import type { EndWitness } from "./domain-end.js";
import { type DomainState, writeState } from "./domain-state.js";
import type { Domain, DomainDisk, DomainEnd, DomainRecord, DomainStats, NetworkFacts, ShareFacts } from "./driver.js";
import type { FileClaims } from "./file-claims.js";
import { setMemory } from "./memory-size.js";
import { ownAddress } from "./network.js";
import { PluggedDisks } from "./plugged-disks.js";
import { usageOf } from "./process-usage.js";
import type { VmmExit, VmmProcess } from "./qemu-process.js";
import type { QmpClient } from "./qmp.js";
import type { Surroundings } from "./surroundings.js";
import { setVcpus } from "./vcpus.js";
import { lastWordsOf } from "./vmm-log.js";
import { within } from "./within.js";

/** How long a VMM may take to go after it was told to, or after it closed its monitor. */
const QUIT_MS = 2_000;

export interface QemuDomainParts {
  record: DomainRecord;
  cloned: boolean;
  vmm: VmmProcess;
  qmp: QmpClient;
  witness: EndWitness;
  console: Socket;
  around: Surroundings;
  /** Those of `state.disks` are taken already. */
  claims: FileClaims;
  state: DomainState;
}

/**
 * A domain whose VMM is a QEMU.
 *
 *   alive --destroy()--------> ending --VMM gone, surroundings removed--> ended
 *     '-----monitor closes------^
 *
 * The monitor's end is the domain's end: a VMM that closes it but lives on is killed, since nothing controls it any more.
 */
export class QemuDomain implements Domain {
  readonly record: DomainRecord;
  readonly cloned: boolean;
  readonly ended: Promise<DomainEnd>;
  readonly #parts: QemuDomainParts;
  readonly #log: ConsoleLog;
  readonly #consoleRead: Promise<void>;
  readonly #disks: PluggedDisks;
  #life: "alive" | "ending" | "ended" = "alive";
  #state: DomainState;
  /** Settles after the last change that was asked for, and after the last write of the state; neither rejects. */
  #changes: Promise<unknown> = Promise.resolve();
  #writes: Promise<unknown> = Promise.resolve();
  /** Until then nothing of it is kept: its folder is not the bridge's yet. */
  #kept = false;

  constructor(parts: QemuDomainParts) {
    this.record = parts.record;
    this.cloned = parts.cloned;
    this.#parts = parts;
    this.#state = parts.state;
    const { qmp, claims, state, witness } = parts;
    this.#disks = new PluggedDisks({ qmp, claims, disks: state.disks, changed: (disks) => this.#write({ disks }) });
    qmp.onEvent = (event) => {
      witness.event(event);
      this.#disks.event(event);
    };
    this.#log = new ConsoleLog(`${parts.record.directory}/console.log`);
    this.#consoleRead = readConsole(parts.console, this.#log);
    for (const companion of parts.around.companions)
      companion.process.exited().then((exit) => this.#companionEnded(companion, exit));
    this.ended = parts.qmp.closed.then(() => this.#finish());
  }

  /** The monitor's session, for who makes domains. UNAVAILABLE/DOMAIN_ENDED. */
  get monitor(): QmpClient {
    if (this.#life === "alive") return this.#parts.qmp;
    throw bridgeError("UNAVAILABLE", "DOMAIN_ENDED", `the domain of ${this.record.directory} has ended`);
  }

  /** From now on a later bridge can go on with it. */
  async keepState(): Promise<void> {
    this.#kept = true;
    await this.#write({});
  }

  async resume(): Promise<void> {
    await this.monitor.execute("cont");
  }

  async pause(): Promise<void> {
    await this.monitor.execute("stop");
  }

  attachDisk(disk: DomainDisk): Promise<void> {
    return this.#change(() => this.#disks.attach(disk));
  }

  detachDisk(serial: string): Promise<void> {
    return this.#change(() => this.#disks.detach(serial));
  }

  resizeDisk(serial: string, bytes: number): Promise<void> {
    return this.#change(() => this.#disks.resize(serial, bytes));
  }

  setMemory(bytes: number): Promise<number> {
    return this.#change((qmp) => setMemory(qmp, this.#state, bytes));
  }

  setVcpus(count: number): Promise<number> {
    return this.#change((qmp) => setVcpus(qmp, this.#state.maxVcpus, count));
  }

  async stats(): Promise<DomainStats> {
    const companions = this.#parts.around.companions.map(({ record }) => record.pid);
    const usage = await usageOf([this.record.pid, ...companions]);
    // Memory that its processes map together is private to none of them, but to the domain.
    return this.#state.sharedMemory ? { ...usage, privateBytes: usage.pssBytes } : usage;
  }

  networkFacts(): NetworkFacts | undefined {
    return this.#state.networkLost ? undefined : this.#state.network;
  }

  guestAddress(): string | undefined {
    return this.#state.network && ownAddress(this.#state.network);
  }

  shareFacts(): ShareFacts[] {
    return [...this.#state.shares];
  }

  async console(): Promise<Buffer> {
    return this.#log.tail();
  }

  async destroy(): Promise<void> {
    const { qmp, vmm, witness } = this.#parts;
    if (this.#life === "alive") {
      this.#life = "ending";
      witness.destroying();
      // The answer says nothing, and a QEMU that is stuck gives none: whether its monitor closes does.
      qmp.execute("quit").catch(() => {});
      if (!(await within(qmp.closed, QUIT_MS))) await vmm.kill();
    }
    await this.ended;
  }

  /** One after the other: a change is several commands. */
  #change<T>(change: (qmp: QmpClient) => Promise<T>): Promise<T> {
    const done = this.#changes.then(() => change(this.monitor));
    this.#changes = done.catch(() => {});
    return done;
  }

  #write(change: Partial<DomainState>): Promise<void> {
    this.#state = { ...this.#state, ...change };
    const written = this.#writes.then(async () => {
      if (this.#kept && this.#life === "alive") await writeState(this.record.directory, this.#state);
    });
    this.#writes = written.catch(() => {});
    return written;
  }

  /** The zone lives on without what it did; its console says so, where who looks for the reason looks. */
  async #companionEnded(companion: Companion, exit: VmmExit): Promise<void> {
    if (this.#life !== "alive") return;
    const why = await whyEnded(companion, this.record.directory, exit);
    // Its VMM may have been first; then that is the news.
    if (await within(this.#parts.qmp.closed, 200)) return;
    const network = companion.record.name === "passt" || companion.record.name === "frame-filter";
    this.#log.append(
      Buffer.from(`\n[bridge: ${network ? "the zone's network is gone" : "a share is gone"}: ${why}]\n`),
    );
    if (network) await this.#write({ networkLost: true }).catch(() => {});
  }

  async #finish(): Promise<DomainEnd> {
    this.#life = "ending";
    const { vmm, witness, console, record, around } = this.#parts;
    try {
      if (!(await within(vmm.exited(), QUIT_MS))) await vmm.kill();
      const exit = await vmm.exited();
      // What the guest wrote last is still in the socket; whoever may hold its other end must not hold us up.
      if (!(await within(this.#consoleRead, QUIT_MS))) console.destroy();
      await this.#consoleRead;
      const vmmLog = await lastWordsOf(record.directory);
      const end = witness.end({ exit, console: this.#log.tail(), vmmLog });
      await this.#writes;
      await around.remove();
      return end;
    } catch (error) {
      return { cause: "lost", message: `cannot clean up after the VMM: ${errorMessage(error)}` };
    } finally {
      this.#disks.releaseAll();
      this.#log.close();
      this.#life = "ended";
    }
  }
}
