import { agent, createClient, ProcessService, ZoneError } from "@zone/proto";
import { type MainExit, NO_EXIT_CODE } from "./life.js";
import { MAIN } from "./main-spec.js";
import { delay, persist, type ZoneLink } from "./zone-link.js";

/** Characters that are kept of why the main process did not start, which the zone says. */
const MAX_FAILURE_MESSAGE = 1024;

/** How a zone's main process came to its end. */
export type MainOutcome =
  | { kind: "exited"; exit: MainExit }
  /** exec did not happen, at the start of a process that was held. */
  | { kind: "failed"; message: string; exitCode: number }
  /** The agent does not know it any more. */
  | { kind: "forgotten"; message: string }
  /** It was held for a client, and none came. */
  | { kind: "abandoned"; message: string };

/** What is told to whoever keeps the zone: an agent's answer that should not be. */
type OnFailure = (error: ZoneError) => void;

/** Waits for the main process's end, however often the link is remade. Rejects only when `signal` aborts. */
export async function mainOutcome(link: ZoneLink, signal: AbortSignal, onFailure: OnFailure): Promise<MainOutcome> {
  try {
    return await persist(() => waitForMain(link, signal), { signal, isFinal: isUnknown, onFailure });
  } catch (thrown) {
    const error = ZoneError.from(thrown);
    if (signal.aborted || !isUnknown(error)) throw error;
    return { kind: "forgotten", message: `the agent lost the main process: ${error.message}` };
  }
}

async function waitForMain(link: ZoneLink, signal: AbortSignal): Promise<MainOutcome> {
  const client = await link.client(signal);
  const { process } = await createClient(ProcessService, client).wait({ id: MAIN }, { signal });
  if (process?.failure) {
    return {
      kind: "failed",
      message: (process.failure.message ?? "").slice(0, MAX_FAILURE_MESSAGE),
      exitCode: (process.failure.exitCode ?? 0) & 0xff || NO_EXIT_CODE,
    };
  }
  // A zone is hostile: what cannot be an exit is made one.
  const code = (process?.exit?.code ?? 0) & 0xff;
  const signalNumber = (process?.exit?.signal ?? 0) & 0x7f;
  const oomKilled = process?.exit?.oomKilled ? { oomKilled: true } : {};
  return { kind: "exited", exit: { code: signalNumber === 0 ? code : 0, signal: signalNumber, ...oomKilled } };
}

/** Answers when the main process is still held at `until` (milliseconds since 1970); never when a client has started it. */
export async function abandonedMain(
  link: ZoneLink,
  until: number,
  signal: AbortSignal,
  onFailure: OnFailure,
): Promise<MainOutcome> {
  await delay(Math.max(0, until - Date.now()), signal);
  const ask = async () => {
    const client = await link.client(signal);
    return createClient(ProcessService, client).get({ id: MAIN }, { signal });
  };
  const { process } = await persist(ask, { signal, isFinal: isUnknown, onFailure });
  if (process?.state === agent.ProcessState.PROCESS_STATE_CREATED) {
    return { kind: "abandoned", message: "no client came to start the main process" };
  }
  return new Promise(() => {});
}

/** Signals the main process. False when it has ended, or has not begun. */
export async function signalMain(link: ZoneLink, signalNumber: number, timeoutMs: number): Promise<boolean> {
  try {
    const client = await link.client(AbortSignal.timeout(timeoutMs), timeoutMs);
    await createClient(ProcessService, client).signal({ id: MAIN, signal: signalNumber }, { timeoutMs });
    return true;
  } catch (thrown) {
    const error = ZoneError.from(thrown);
    if (error.reason === "PROCESS_NOT_RUNNING" || isUnknown(error)) return false;
    throw error;
  }
}

/**
 * Settles when every client that is attached to a process of the container has all its output and its exit. To be called
 * when the main process has ended: its container's processes ended with it.
 */
export async function clientsServed(link: ZoneLink, containerId: string, signal: AbortSignal): Promise<void> {
  for (let pause = 5; !signal.aborted; pause = Math.min(pause * 2, 500)) {
    const client = await link.client(signal);
    const { processes } = await createClient(ProcessService, client).list({ containerId }, { signal });
    if (!processes.some((process) => (process.attached ?? 0) > 0)) return;
    await delay(pause, signal);
  }
}

function isUnknown(error: ZoneError): boolean {
  return error.reason === "PROCESS_UNKNOWN";
}
