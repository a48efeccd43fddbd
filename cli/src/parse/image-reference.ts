import { resolve } from "node:path";

/** Sources on this host's file system: what follows is a path, and for some a tag after a colon. */
const PATH_SOURCES = ["oci:", "oci-archive:", "docker-archive:"];

/** An image reference whose path, if it has one, is absolute: the bridge has another working directory. */
export function absoluteReference(reference: string, cwd: string): string {
  const source = PATH_SOURCES.find((prefix) => reference.startsWith(prefix));
  if (!source || reference.length === source.length) return reference;
  return source + resolve(cwd, reference.slice(source.length));
}
