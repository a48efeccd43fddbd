import { UsageError } from "../parse/usage-error.js";

/** What an argument of `zonectl cp` names. */
export type CopyEnd =
  | { kind: "zone"; zone: string; path: string }
  | { kind: "local"; path: string }
  /** A tar stream on stdin or stdout. */
  | { kind: "stream" };

/** Takes ZONE:PATH, a local path, or "-". As with docker, a path that has a colon is local when it begins with "/" or ".". */
export function parseCopyEnd(text: string): CopyEnd {
  if (text === "-") return { kind: "stream" };
  const colon = text.indexOf(":");
  if (text.startsWith("/") || text.startsWith(".") || colon < 0) {
    if (text === "") throw new UsageError("invalid path '': give a file or directory, ZONE:PATH, or -");
    return { kind: "local", path: text };
  }
  const [zone, path] = [text.slice(0, colon), text.slice(colon + 1)];
  if (path === "") throw new UsageError(`invalid argument '${text}': give a path after the colon, such as ${zone}:/`);
  // A zone has no working directory of ours: its paths begin at its root.
  return { kind: "zone", zone, path: path.startsWith("/") ? path : `/${path}` };
}

/** A path's last name, and what its end says. */
export interface PathEnd {
  /** Without "/" and "/." at its end; "/" for the root. */
  readonly path: string;
  /** It ends with "/.", or is ".": a directory's content is meant. */
  readonly isContent: boolean;
  /** It ends with a slash, or "/.": it must be a directory. */
  readonly mustBeDirectory: boolean;
}

export function pathEnd(path: string): PathEnd {
  const isContent = /(?:^|\/)\.$/.test(path);
  const mustBeDirectory = isContent || path.endsWith("/");
  const bare = path.replace(/(?:\/+\.?)+$/, "");
  return { path: bare === "" ? (path.startsWith("/") ? "/" : ".") : bare, isContent, mustBeDirectory };
}

/** The directory that holds a path, and its name there. */
export function splitName(path: string): { directory: string; name: string } {
  const at = path.lastIndexOf("/");
  if (at < 0) return { directory: ".", name: path };
  return { directory: path.slice(0, at) || "/", name: path.slice(at + 1) };
}

export interface Source {
  /** For messages. */
  readonly shown: string;
  /** What it is called in a directory that it is copied into. */
  readonly name: string;
  readonly isDirectory: boolean;
  readonly isContent: boolean;
}

export type Existing = "directory" | "other" | undefined;

/** Where a copy goes: into `directory`, as `name`; a directory's content when `name` is undefined. */
export interface Place {
  readonly directory: string;
  readonly name: string | undefined;
}

/**
 * docker's rules (docker cp --help, and its reference): an existing directory gets the source under the source's name, or its
 * content when that ends with "/."; what is not there is made, in a directory that is; a file replaces a file.
 * @param there What is at the destination, links followed.
 */
export function placeFor(source: Source, destination: string, there: Existing): Place {
  const { path, mustBeDirectory } = pathEnd(destination);
  if (there === "directory") return { directory: path, name: source.isContent ? undefined : source.name };
  if (there === "other") {
    if (source.isDirectory) throw new UsageError(`cannot copy a directory: ${destination} is not a directory`);
    if (mustBeDirectory) throw new UsageError(`${destination} is not a directory`);
  } else if (mustBeDirectory && !source.isDirectory) {
    throw new UsageError(`there is no directory ${destination}: make it first`);
  }
  return splitName(path);
}
