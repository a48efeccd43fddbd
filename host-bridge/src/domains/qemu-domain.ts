import { open, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { bridgeError, errorMessage } from "../errors.js";
import { ConsoleLog, lastLines, readConsole } from "./console-log.js";
import type { EndWitness } from "./domain-end.js";
import type { Domain, DomainEnd, DomainRecord, DomainStats, NetworkFacts, ShareFacts } from "./driver.js";
import type { VmmProcess } from "./qemu-process.js";
import type { QmpClient } from "./qmp.js";
import { unsupported } from "./unsupported.js";
import { within } from "./within.js";

/** How long a VMM may take to go after it was told to, or after it closed its monitor. */
const QUIT_MS = 2_000;
const VMM_LOG_BYTES = 2048;

/** File in a domain's folder that the VMM's own messages go to. */
export function vmmLogPath(directory: string): string {
  return `${directory}/qemu.log`;
}

export interface QemuDomainParts {
  record: DomainRecord;
  cloned: boolean;
  vmm: VmmProcess;
  qmp: QmpClient;
  /** Has been told the events of `qmp` from the first on. */
  witness: EndWitness;
  console: Socket;
}

/**
 * A domain whose VMM is a QEMU.
 *
 *   alive --destroy()--------> ending --VMM gone, folder removed--> ended
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
  #state: "alive" | "ending" | "ended" = "alive";

  constructor(parts: QemuDomainParts) {
    this.record = parts.record;
    this.cloned = parts.cloned;
    this.#parts = parts;
    this.#log = new ConsoleLog(`${parts.record.directory}/console.log`);
    this.#consoleRead = readConsole(parts.console, this.#log);
    this.ended = parts.qmp.closed.then(() => this.#finish());
  }

  /** The monitor's session, for who makes domains. UNAVAILABLE/DOMAIN_ENDED. */
  get monitor(): QmpClient {
    if (this.#state === "alive") return this.#parts.qmp;
    throw bridgeError("UNAVAILABLE", "DOMAIN_ENDED", `the domain of ${this.record.directory} has ended`);
  }

  async resume(): Promise<void> {
    await this.monitor.execute("cont");
  }

  async pause(): Promise<void> {
    await this.monitor.execute("stop");
  }

  async attachDisk(): Promise<void> {
    throw unsupported("get a disk");
  }

  async detachDisk(): Promise<void> {
    throw unsupported("lose a disk");
  }

  async resizeDisk(): Promise<void> {
    throw unsupported("have a disk resized");
  }

  async setMemory(): Promise<number> {
    throw unsupported("get other memory");
  }

  async setVcpus(): Promise<number> {
    throw unsupported("get other vCPUs");
  }

  async stats(): Promise<DomainStats> {
    throw unsupported("be measured");
  }

  networkFacts(): NetworkFacts | undefined {
    return undefined;
  }

  shareFacts(): ShareFacts[] {
    return [];
  }

  async console(): Promise<Buffer> {
    return this.#log.tail();
  }

  async destroy(): Promise<void> {
    const { qmp, vmm, witness } = this.#parts;
    if (this.#state === "alive") {
      this.#state = "ending";
      witness.destroying();
      // The answer says nothing, and a QEMU that is stuck gives none: whether its monitor closes does.
      qmp.execute("quit").catch(() => {});
      if (!(await within(qmp.closed, QUIT_MS))) await vmm.kill();
    }
    await this.ended;
    await rm(this.record.directory, { recursive: true, force: true });
  }

  async #finish(): Promise<DomainEnd> {
    this.#state = "ending";
    const { vmm, witness, console, record } = this.#parts;
    try {
      if (!(await within(vmm.exited(), QUIT_MS))) await vmm.kill();
      const exit = await vmm.exited();
      // What the guest wrote last is still in the socket; whoever may hold its other end must not hold us up.
      if (!(await within(this.#consoleRead, QUIT_MS))) console.destroy();
      await this.#consoleRead;
      const vmmLog = lastLines(await tailOf(vmmLogPath(record.directory), VMM_LOG_BYTES), 2);
      const end = witness.end({ exit, console: this.#log.tail(), vmmLog });
      await rm(record.directory, { recursive: true, force: true });
      return end;
    } catch (error) {
      return { cause: "lost", message: `cannot clean up after the VMM: ${errorMessage(error)}` };
    } finally {
      this.#log.close();
      this.#state = "ended";
    }
  }
}

/** The last `bytes` of a file; nothing when it cannot be read. */
export async function tailOf(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, "r").catch(() => undefined);
  if (!file) return Buffer.alloc(0);
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, Math.max(0, size - bytes));
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
