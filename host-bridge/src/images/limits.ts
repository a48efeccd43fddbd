import { TAR_LIMITS, type TarLimits } from "@zone/tar";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/**
 * What an image may ask of this host. An image is written by a stranger: everything that it can make us store, remember or
 * compute has a bound here, and more than that is refused with IMAGE_REFUSED. Sizes are in bytes.
 */
export interface ImageLimits {
  manifestBytes: number;
  configBytes: number;
  layers: number;
  /** Tar entries of all layers together, and nodes of the tree (folders that a path only implies count too). */
  entries: number;
  /** Unpacked tar streams of all layers together. What the host's disk can take bounds it too. */
  unpackedBytes: number;
  /** Names, link targets and extended attributes of all entries together: what is kept in memory. */
  metadataBytes: number;
  /** An entry's path, and a symbolic link's target (PATH_MAX). */
  pathBytes: number;
  /** One component of a path (NAME_MAX). */
  componentBytes: number;
  /** How deep folders may lie in each other. */
  depth: number;
  /** Symbolic links followed to find one entry's folder. */
  linkFollows: number;
  /** Path components walked for all entries together: bounds the work of hostile links, not of honest images. */
  pathSteps: number;
  /** One extended (pax) or GNU header. */
  extendedHeaderBytes: number;
  xattrNameBytes: number;
  /** One value: erofs counts it in 16 bits. */
  xattrValueBytes: number;
  /** All extended attributes of one file. */
  xattrBytes: number;
  /** A layer larger than `ratioFromBytes` may be at most this many times its compressed size. */
  ratio: number;
  ratioFromBytes: number;
  /** What a pull leaves free on the file system of the store. */
  diskReserveBytes: number;
}

export const DEFAULT_LIMITS: ImageLimits = {
  manifestBytes: 4 * MIB,
  configBytes: 1 * MIB,
  layers: 127,
  entries: 1_000_000,
  unpackedBytes: 32 * GIB,
  metadataBytes: 256 * MIB,
  pathBytes: 4096,
  componentBytes: 255,
  depth: 1024,
  linkFollows: 40,
  pathSteps: 100_000_000,
  extendedHeaderBytes: 1 * MIB,
  xattrNameBytes: 255,
  xattrValueBytes: 65_535,
  xattrBytes: 128 * KIB,
  ratio: 200,
  ratioFromBytes: 1 * GIB,
  diskReserveBytes: 512 * MIB,
};

/** What the tar reader may keep. */
export function tarLimits({ extendedHeaderBytes }: ImageLimits): TarLimits {
  return { ...TAR_LIMITS, extendedHeaderBytes };
}
