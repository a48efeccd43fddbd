export { ByteSource } from "./byte-source.js";
export { encodeEntry, encodePax, TAR_END, tarPadding } from "./entry-writer.js";
export { file, folder, gnuLong, hardlink, pax, symlink } from "./members.js";
export type { SparseRegion } from "./sparse.js";
export type { TarEntry, TarKind } from "./tar-entry.js";
export { shown, TarError } from "./tar-error.js";
export { TAR_BLOCK } from "./tar-header.js";
export { TAR_LIMITS, type TarLimits, TarReader } from "./tar-reader.js";
export { encodeMember, encodeTar, type TarMember } from "./tar-writer.js";
