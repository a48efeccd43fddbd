const KIB = 1024;
const MIB = 1024 * KIB;

/** Every bound of the agent in one place. Bytes and milliseconds unless the name says otherwise. */
export const LIMITS = {
  /** PID 1 keeps at most 4,096 records (ZI_MAX_RECORDS); some room is left for those that are being released. */
  processes: 4000,
  containers: 256,
  idLength: 64,
  /** argv and env together: Linux gives a quarter of the stack limit, 2 MiB, and answers E2BIG beyond. */
  argumentBytes: 2 * MIB,
  argumentCount: 65_536,
  pathBytes: 4095,
  userLength: 256,
  additionalGroups: 64,
  supplementaryGroups: 1024,
  rlimits: 16,
  /** Of /etc/passwd and /etc/group; they are the image's, so untrusted. */
  accountFileBytes: 1 * MIB,

  outputBufferBytes: { min: 64 * KIB, default: 1 * MIB, max: 64 * MIB },
  /** Of one Output or StdinData message. */
  chunkBytes: 256 * KIB,
  /** Output handed to one client's gRPC stream that it has not accepted yet. */
  attachWindowBytes: 512 * KIB,
  /** Stdin taken from the client that the process has not read yet; beyond it the client's stream is not read. */
  stdinQueueBytes: 1 * MIB,
  /** What a pipe may still hold when its writer is gone: Linux's default pipe capacity, pipe(7). */
  pipeBytes: 64 * KIB,
  drainGraceMs: { default: 2000, max: 600_000 },

  tasks: 4096,
  taskCommandBytes: 4 * KIB,

  logRecords: 2048,
  logRecordBytes: 8 * KIB,
  logBytes: 2 * MIB,
  eventQueue: 1024,

  entropyBytes: { min: 16, max: 512 },
  hostnameBytes: 63,
  instanceIdLength: 64,
  onlineWaitMs: { default: 5000, max: 60_000 },
  shutdownGraceMs: { default: 2000, max: 600_000 },

  blockSerialBytes: 20,
  deviceWaitMs: { default: 10_000, max: 120_000 },
  writableBytesMin: 64 * KIB,
  hostEntries: 256,
  nameservers: 16,
} as const;
