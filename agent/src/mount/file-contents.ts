import type { zone } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import { MOUNT_LIMITS } from "./limits.js";

/** One file of a "files" mount, checked. */
export interface MountedFile {
  /** Its components; none when the mount itself is the file. */
  path: readonly string[];
  data: Uint8Array;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
}

/**
 * Checks the files of a mount. The only file of one may have the path "": then the mount's target is a file, not a folder.
 * INVALID_FILES; FILES_TOO_LARGE for more than is taken.
 */
export function checkFiles(contents: readonly zone.agent.v1.FileContent.$Properties[]): MountedFile[] {
  if (contents.length > MOUNT_LIMITS.files) {
    throw tooLarge(`${contents.length} files; at most ${MOUNT_LIMITS.files} are taken`);
  }
  const bytes = contents.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
  if (bytes > MOUNT_LIMITS.filesBytes)
    throw tooLarge(`files of ${bytes} bytes; at most ${MOUNT_LIMITS.filesBytes} are taken`);
  const files = contents.map(checkFile);
  if (files.length > 1 && files.some(({ path }) => path.length === 0)) {
    throw invalid("INVALID_FILES", 'the path "" is the mount itself as a file: it must be the only one');
  }
  checkTree(files);
  return files;
}

function checkFile(content: zone.agent.v1.FileContent.$Properties): MountedFile {
  const { data, uid = 0, gid = 0 } = content;
  const mode = content.mode || 0o644;
  const path = checkPath(content.path ?? "");
  if (mode > 0o7777)
    throw invalid(
      "INVALID_FILES",
      `the mode of ${quote(path)} is 0${mode.toString(8)}: it has more than permission bits`,
    );
  // chown(2) takes -1 for "leave it".
  if ((uid ?? 0) > 0xffff_fffe || (gid ?? 0) > 0xffff_fffe)
    throw invalid("INVALID_FILES", `${quote(path)} has an owner that is none`);
  return { path, data: data ?? new Uint8Array(), mode, uid: uid ?? 0, gid: gid ?? 0 };
}

function checkPath(path: string): string[] {
  if (path === "") return [];
  const components = path.split("/");
  const bad =
    Buffer.byteLength(path) > MOUNT_LIMITS.filePathBytes ||
    path.includes("\0") ||
    components.some(
      (name) => name === "" || name === "." || name === ".." || Buffer.byteLength(name) > MOUNT_LIMITS.nameBytes,
    ) ||
    // "..data" and the versions are ours: the pattern of Kubernetes' AtomicWriter.
    components[0]?.startsWith("..");
  if (bad) {
    throw invalid(
      "INVALID_FILES",
      `"${path.slice(0, 80)}" is no file's path: relative, without empty components, "." or "..", not beginning with "..", names of at most ${MOUNT_LIMITS.nameBytes} bytes`,
    );
  }
  return components;
}

/** No path twice, and no file that is also a folder. */
function checkTree(files: readonly MountedFile[]): void {
  const paths = new Set<string>();
  for (const { path } of files) {
    const text = path.join("/");
    if (paths.has(text)) throw invalid("INVALID_FILES", `there are two files ${quote(path)}`);
    paths.add(text);
  }
  for (const { path } of files) {
    for (let length = 1; length < path.length; length++) {
      const folder = path.slice(0, length);
      if (paths.has(folder.join("/")))
        throw invalid("INVALID_FILES", `${quote(folder)} is a file, and the folder of ${quote(path)}`);
    }
  }
}

function quote(path: readonly string[]): string {
  return `"${path.join("/").slice(0, 80)}"`;
}

function tooLarge(what: string): Error {
  return agentError("RESOURCE_EXHAUSTED", "FILES_TOO_LARGE", `a mount has ${what}`);
}
