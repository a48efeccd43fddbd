const KIB = 1024;

/** Bounds of the File service. Bytes unless the name says otherwise. */
export const FILE_LIMITS = {
  /** Of one message's data. */
  chunkBytes: 256 * KIB,
  /** PATH_MAX without its NUL; a link's target too. */
  pathBytes: 4095,
  /** NAME_MAX. */
  nameBytes: 255,
  directoryPage: 1000,
  /** Links followed at the end of a path that is written to; Linux's own MAXSYMLINKS. */
  linkFollows: 40,
  /** Directories in each other that CopyOut goes down: each is an open descriptor. */
  depth: 512,
  /** Directories in each other that Remove holds open; what lies deeper is moved up first. */
  removeDepth: 64,
  /** Times that Remove begins again with a directory that others go on filling. */
  removeScans: 100,
  /** Entries after which a long walk lets other calls go on. */
  batch: 200,
  /** Reads and writes of at most this size are done at once instead of in a thread: the way there takes longer. */
  quickBytes: 32 * KIB,
  /** Files with several names that CopyOut remembers, so as to write the others as hard links; more are written as files. */
  hardLinks: 100_000,
  /** Bytes of their names. */
  hardLinkBytes: 16 * 1024 * KIB,
  /** Directories whose times CopyIn sets when all is unpacked; those of more are set at once, and change when they are filled. */
  directoryTimes: 100_000,
  /** Bytes of their names. */
  directoryTimeBytes: 16 * 1024 * KIB,
  /** Regions of one sparse file; what comes after them is written as one. */
  sparseRegions: 50_000,
  /** After a client's last message of a Write; see messages.ts. Milliseconds. */
  endGraceMs: 20,
  /** Events that wait for a client of Watch. */
  watchQueue: 1024,
} as const;
