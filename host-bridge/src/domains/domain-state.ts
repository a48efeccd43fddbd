import { open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { CompanionRecord } from "./companions.js";
import type { NetworkFacts, ShareFacts } from "./driver.js";

/** A disk that can be taken away, or could be written to. */
export interface AttachedDisk {
  serial: string;
  path: string;
  readOnly: boolean;
  /** "DEVICE:INODE" of the file. */
  file: string;
  /** Of descriptors in the VMM. */
  set: number;
}

/** What a driver must know of a domain beside its record, to go on with it after a restart. JSON-safe. */
export interface DomainState {
  version: 1;
  /** What it was started with, and what it may have at most. */
  memoryBytes: number;
  maxMemoryBytes: number;
  maxVcpus: number;
  /** Other processes map its memory: what is plugged in must be shared too. */
  sharedMemory: boolean;
  disks: AttachedDisk[];
  network: NetworkFacts | undefined;
  /** What carried the network has died; the guest still has its address. */
  networkLost?: boolean;
  shares: ShareFacts[];
  companions: CompanionRecord[];
}

const FILE = "domain.json";

/** Writes it into the domain's folder, which is the bridge's own by then; whole or not at all. The folder is gone with the host's memory. */
export async function writeState(directory: string, state: DomainState): Promise<void> {
  const aside = join(directory, `${FILE}.new`);
  await rm(aside, { force: true }); // whatever it is: the folder was the VMM's for a while
  const file = await open(aside, "wx", 0o600);
  try {
    await file.writeFile(JSON.stringify(state));
  } finally {
    await file.close();
  }
  await rename(aside, join(directory, FILE));
}

/** What an earlier bridge wrote; undefined when there is none, as of a version before there was any. */
export async function readState(directory: string): Promise<DomainState | undefined> {
  try {
    const state = JSON.parse(await readFile(join(directory, FILE), "utf8")) as DomainState;
    return state.version === 1 ? state : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
