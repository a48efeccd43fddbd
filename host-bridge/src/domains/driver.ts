/** What a driver is asked to make. */
export interface DomainConfig {
  /** The zone's id: 32 hexadecimal digits. */
  id: string;
  memoryBytes: number;
  vcpus: number;
  /** Read-only, seen by the guest under their serials. */
  disks: DomainDisk[];
  /** Boot the kernel instead of cloning a template. */
  cold: boolean;
}

export interface DomainDisk {
  path: string;
  serial: string;
}

/** What the bridge stores of a domain, so that a later bridge finds it again. JSON-safe. */
export interface DomainRecord {
  driver: string;
  /** Of the VMM, with its start time (field 22 of /proc/PID/stat), so that a reused pid is never taken for it. */
  pid: number;
  pidStartTime: string;
  accelerator: string;
  /** A folder of the domain's own: sockets and small files, removed with it. */
  directory: string;
  /** Link URI of the agent; the link package opens it. */
  link: string;
  /** The uid that the VMM runs as. */
  uid: number;
}

/** How a domain ended. */
export type DomainEnd =
  | { cause: "powered-off" }
  | { cause: "panicked"; message: string }
  | { cause: "lost"; message: string }
  | { cause: "destroyed" };

/** A running domain. */
export interface Domain {
  readonly record: DomainRecord;
  /** Whether this create cloned it from a template: it must be renewed before any workload. False for an adopted domain. */
  readonly cloned: boolean;
  /** Settles once, when the domain is gone. Never rejects. */
  readonly ended: Promise<DomainEnd>;
  /** Lets the guest run: a domain is created stopped, so that the link can be opened first. */
  resume(): Promise<void>;
  pause(): Promise<void>;
  /** The guest's console, bounded: the last bytes that are kept. */
  console(): Promise<Buffer>;
  /** Ends it now, without asking the guest; answers when the VMM is reaped or gone and its folder is removed. Idempotent. */
  destroy(): Promise<void>;
}

export type ProgressFn = (phase: string, message: string, done?: number, total?: number) => void;

/** Opens the link of a template being made and settles when its agent is ready to be cloned (see templates). */
export type WarmUp = (link: string, signal: AbortSignal) => Promise<void>;

/** One hypervisor. */
export interface DomainDriver {
  readonly name: string;
  /** Makes a domain, stopped; a template is made first when it is wanted and missing. Leaves nothing when it fails. */
  create(config: DomainConfig, progress: ProgressFn, signal: AbortSignal): Promise<Domain>;
  /**
   * Takes up a domain that an earlier bridge made; undefined when it is gone (what was left of it is removed). All are adopted
   * before the first create, which removes what an earlier bridge had begun to make.
   */
  adopt(record: DomainRecord): Promise<Domain | undefined>;
}
