import { invalid } from "../errors.js";
import { shownPath } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";

/** Checks a path of a request: absolute, without NUL, at most PATH_MAX. INVALID_PATH. */
export function checkPath(path: string | null | undefined): string {
  const text = path ?? "";
  if (!text.startsWith("/")) throw invalidPath(text, "a path must be absolute");
  checkText(text);
  return text;
}

/** Checks what a symbolic link is to say. INVALID_PATH. */
export function checkTarget(target: string | null | undefined): string {
  const text = target ?? "";
  if (text === "") throw invalidPath(text, "a link must lead somewhere");
  checkText(text);
  return text;
}

function checkText(text: string): void {
  if (text.includes("\0")) throw invalidPath(text, "it has a NUL");
  const bytes = Buffer.byteLength(text);
  if (bytes > FILE_LIMITS.pathBytes) {
    throw invalidPath(text.slice(0, 100), `it has ${bytes} bytes; ${FILE_LIMITS.pathBytes} are the most`);
  }
}

export function invalidPath(path: string, why: string): Error {
  return invalid("INVALID_PATH", `invalid path ${shownPath(path)}: ${why}`);
}

/** A path as the directory that it is in and its name there. */
export interface SplitPath {
  parent: string;
  /** Undefined when the path ends with none: "/", ".", "..". */
  name: string | undefined;
  /** It ends with a slash: it must be a directory. */
  slash: boolean;
}

export function splitPath(path: string): SplitPath {
  const text = path.replace(/\/+$/, "");
  const at = text.lastIndexOf("/");
  const last = text.slice(at + 1);
  return {
    parent: text.slice(0, at + 1) || "/",
    name: last === "" || last === "." || last === ".." ? undefined : last,
    slash: text.length < path.length,
  };
}

/** The same, of what is to be made, moved or removed: INVALID_PATH when there is no name. */
export function splitNamed(path: string): SplitPath & { name: string } {
  const { name, ...rest } = splitPath(path);
  if (name === undefined) throw invalidPath(path, "it must end with a name");
  return { ...rest, name };
}
