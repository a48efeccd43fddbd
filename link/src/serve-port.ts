import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { ZoneError } from "@zone/proto";
import { AgentGreeter } from "./agent-greeter.js";
import { linkError, messageOf } from "./errors.js";
import { OneStreamPort } from "./one-stream-port.js";
import type { Serving } from "./serve.js";
import type { AgentAddress } from "./uri.js";

const REOPEN_MIN_MS = 5;
const REOPEN_MAX_MS = 100;

/**
 * Agent's side of a one-stream port: session after session on one open port, and the port again when it has ended, which it does
 * when the host's end is disconnected. Settles when the signal is aborted; never rejects.
 */
export async function servePort(
  address: Extract<AgentAddress, { kind: "serial" }>,
  openPort: (name: string, signal: AbortSignal) => Promise<Duplex>,
  serving: Serving,
): Promise<void> {
  let wait = REOPEN_MIN_MS;
  let told = false;
  while (!serving.signal.aborted) {
    try {
      const port = await openPort(address.port, serving.signal);
      told = false;
      if (await serveUntilEnd(port, address, serving)) wait = REOPEN_MIN_MS;
    } catch (error) {
      if (!serving.signal.aborted && !told)
        serving.event({ kind: "port-lost", address, error: cannotOpen(address, error) });
      told = true;
    }
    await delay(wait, undefined, { signal: serving.signal }).catch(() => {}); // aborted: the loop ends
    wait = Math.min(2 * wait, REOPEN_MAX_MS);
  }
}

/** Settles when the port has ended and is closed (only one may have it open): true when there was somebody at the other end. */
function serveUntilEnd(raw: Duplex, address: AgentAddress, serving: Serving): Promise<boolean> {
  return new Promise((resolve) => {
    let heard = false;
    raw.once("data", () => {
      heard = true;
    });
    // Whatever a dead bridge has left behind is read and dropped, however much: there is no other way to the next hello.
    const port = new OneStreamPort(raw, Number.POSITIVE_INFINITY);
    const greeter = new AgentGreeter(port, serving.context, (duplex, agreed) => serving.begin(duplex, address, agreed));
    const onAbort = () => port.destroy();
    port.onSessionEnd = () => greeter.announce();
    serving.signal.addEventListener("abort", onAbort, { once: true });
    raw.once("close", () => {
      greeter.stop();
      serving.signal.removeEventListener("abort", onAbort);
      resolve(heard);
    });
    if (serving.signal.aborted) onAbort();
    else greeter.announce();
  });
}

function cannotOpen({ port }: { port: string }, error: unknown): ZoneError {
  const message = `cannot open the port ${port}: ${messageOf(error)}; trying again`;
  return linkError("UNAVAILABLE", "TRANSPORT_UNREACHABLE", message, `serial:${port}`, error);
}
