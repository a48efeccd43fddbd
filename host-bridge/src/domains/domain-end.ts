import { lastLines } from "./console-log.js";
import type { DomainEnd } from "./driver.js";
import type { VmmExit } from "./qemu-process.js";
import type { QmpEvent } from "./qmp.js";

/** What is left of a domain that has ended. */
export interface Remains {
  exit: VmmExit;
  console: Buffer;
  /** The end of what the VMM itself printed. */
  vmmLog: string;
}

/** Takes note of what tells how a domain ended, while it lives. */
export class EndWitness {
  /** A GUEST_PANICKED event: the pvpanic device (only with its module in the zone's kernel). */
  #panicked = false;
  /** ShutdownCause in qapi/run-state.json of QEMU; the first is the cause, what follows is QEMU going down. */
  #shutdownReason: string | undefined;
  #destroyed = false;

  /** An event of QEMU's monitor. */
  event({ name, data }: QmpEvent): void {
    if (name === "GUEST_PANICKED") this.#panicked = true;
    if (name === "SHUTDOWN") this.#shutdownReason ??= String(data.reason);
  }

  /** We are about to end it. */
  destroying(): void {
    this.#destroyed = true;
  }

  /** How it ended, now that its VMM is gone. What the guest did first stands, also when it was being destroyed. */
  end({ exit, console, vmmLog }: Remains): DomainEnd {
    if (this.#panicked || this.#shutdownReason === "guest-panic") return panic("its kernel panicked", console);
    if (this.#shutdownReason === "guest-shutdown") return { cause: "powered-off" };
    // PID 1 never reboots and the kernel is told panic=-1: a reset is a panic or a triple fault.
    if (this.#shutdownReason === "guest-reset") return panic("its kernel panicked or reset the machine", console);
    if (this.#destroyed) return { cause: "destroyed" };
    return { cause: "lost", message: `the VMM ended${exitText(exit)}${vmmLog && `: ${vmmLog}`}` };
  }
}

function panic(what: string, console: Buffer): DomainEnd {
  // The reason comes before pages of registers and stack.
  const reason = /Kernel panic - not syncing: [ -~]{1,200}/.exec(console.toString("latin1"))?.[0];
  const said = reason ?? lastLines(console);
  return { cause: "panicked", message: said === "" ? `${what}; its console is empty` : `${what}: ${said}` };
}

function exitText(exit: VmmExit): string {
  if (exit?.signal) return ` by ${exit.signal}`;
  return exit ? ` with status ${exit.code}` : " without a word";
}
