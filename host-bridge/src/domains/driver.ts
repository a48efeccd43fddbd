/** What a driver is asked to make. */
export interface DomainConfig {
  /** The zone's id: 32 hexadecimal digits. */
  id: string;
  memoryBytes: number;
  vcpus: number;
  /** There when the guest first runs, seen by it under their serials. */
  disks: DomainDisk[];
  /** Folders of the host. */
  shares?: DomainShare[];
  /** Absent: none. */
  network?: DomainNetwork;
  /** `setMemory` and `setVcpus` go up to these; absent: what it starts with. */
  maxMemoryBytes?: number;
  maxVcpus?: number;
  /** Boot the kernel instead of cloning a template. */
  cold: boolean;
}

export interface DomainDisk {
  path: string;
  /** Names it, in the guest too (/sys/block/NAME/serial): 1 to 20 of [a-z0-9-]. */
  serial: string;
  /** Absent: true. What is not read-only is one domain's alone: VOLUME_IN_USE. */
  readOnly?: boolean;
}

/** A folder of the host that the guest mounts by its tag. */
export interface DomainShare {
  path: string;
  /** 1 to 31 of [a-z0-9-]. */
  tag: string;
  readOnly: boolean;
}

/**
 * How a domain's one network interface is connected. "none": to nothing. "user": connections that the guest opens are made by a
 * process of the host (passt(1)) as its own; none reach the host's loopback, and none come in.
 */
export type DomainNetwork = { kind: "none" } | { kind: "user" };

/** What the guest is to set up for its network. Addresses of both families, with prefix lengths. */
export interface NetworkFacts {
  /** Of the interface, "02:..." in lower case. */
  hardwareAddress: string;
  addresses: string[];
  gateways: string[];
  /** A forwarder to the host's name servers, at the gateway's side. */
  nameservers: string[];
  mtu: number;
}

/** How the guest mounts a share: mount -t TYPE TAG. */
export interface ShareFacts {
  tag: string;
  type: "virtiofs" | "9p";
  readOnly: boolean;
}

/** What a domain costs the host, its VMM and the processes that help it together. */
export interface DomainStats {
  /** Of all cpus, since the start. */
  cpuUs: number;
  /** Proportional set size: shared pages counted by their share. */
  pssBytes: number;
  /** What would be free without it. */
  privateBytes: number;
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

/**
 * A running domain. Changes are made one after the other. What a driver cannot change is refused with
 * FAILED_PRECONDITION/HOTPLUG_UNSUPPORTED; what failed with HOTPLUG_FAILED, and then all is as it was.
 */
export interface Domain {
  readonly record: DomainRecord;
  /** Whether this create cloned it from a template: it must be renewed before any workload. False for an adopted domain. */
  readonly cloned: boolean;
  /** Settles once, when the domain is gone. Never rejects. */
  readonly ended: Promise<DomainEnd>;
  /** Lets the guest run: a domain is created stopped, so that the link can be opened first. */
  resume(): Promise<void>;
  pause(): Promise<void>;
  /** Plugs a disk in. VOLUME_IN_USE when another domain, or this one, has it and either could write; HOTPLUG_FAILED when there is no place. */
  attachDisk(disk: DomainDisk): Promise<void>;
  /** Takes a disk away, when the guest has let it go: FAILED_PRECONDITION/VOLUME_BUSY when it does not; VOLUME_UNKNOWN. */
  detachDisk(serial: string): Promise<void>;
  /** Tells the guest that a disk's file has grown to `bytes`, a multiple of 512. VOLUME_UNKNOWN. */
  resizeDisk(serial: string, bytes: number): Promise<void>;
  /**
   * Gives the guest so much memory, or takes it away. More than it started with comes in steps (128 MiB): answers with what it
   * has now; the agent brings it online. Less is taken by a balloon, or by unplugging what had been plugged in. INVALID_ARGUMENT/INVALID_MEMORY beyond maxMemoryBytes.
   */
  setMemory(bytes: number): Promise<number>;
  /**
   * Makes at least so many vCPUs be there, which the agent brings online; none is ever taken away. Answers with how many there
   * are. INVALID_ARGUMENT/INVALID_CPUS beyond maxVcpus.
   */
  setVcpus(count: number): Promise<number>;
  stats(): Promise<DomainStats>;
  /** Undefined without a network, also when what carried it has died. */
  networkFacts(): NetworkFacts | undefined;
  /** What the guest has as its own address, an IPv4 one if it has any; undefined when it was made without a network. */
  guestAddress(): string | undefined;
  /** In the order of the config. */
  shareFacts(): ShareFacts[];
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
