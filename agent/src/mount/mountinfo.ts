import { closeSync, openSync, readSync } from "node:fs";
import { MOUNT_LIMITS } from "./limits.js";

/**
 * One line of mountinfo, proc_pid_mountinfo(5). Texts are latin1: bytes, of which a file name may have any; utf8() is for people.
 */
export interface MountInfo {
  id: number;
  parentId: number;
  /** "MAJOR:MINOR". */
  device: string;
  /** What of the file system is mounted. */
  root: string;
  target: string;
  /** Of the mount, then of the file system. */
  options: readonly string[];
  fsOptions: readonly string[];
  /** "shared:N", "master:N", "propagate_from:N", "unbindable". */
  propagation: readonly string[];
  type: string;
  source: string;
}

/** Undoes the kernel's escapes: a backslash and three octal digits stand for a byte; seq_escape() in fs/seq_file.c. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Parses a whole mountinfo. Throws on a line that is none: the kernel writes no such. */
export function parseMountInfo(text: string): MountInfo[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}

function parseLine(line: string): MountInfo {
  const fields = line.split(" ");
  // Optional fields, of unknown number, end with a lone hyphen.
  const hyphen = fields.indexOf("-", 6);
  const [id = "", parentId = "", device = "", root, target, options] = fields;
  const [type, source, fsOptions] = hyphen < 0 ? [] : fields.slice(hyphen + 1);
  const whole =
    root !== undefined && target !== undefined && options !== undefined && type !== undefined && source !== undefined;
  if (!whole || !/^\d+$/.test(id) || !/^\d+$/.test(parentId) || !/^\d+:\d+$/.test(device)) {
    throw new Error(`a line of mountinfo is not understood: ${JSON.stringify(line.slice(0, 200))}`);
  }
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescapeOctal(root),
    target: unescapeOctal(target),
    options: splitOptions(options),
    fsOptions: splitOptions(fsOptions ?? ""),
    propagation: fields.slice(6, hyphen),
    type: unescapeOctal(type),
    source: unescapeOctal(source),
  };
}

function splitOptions(text: string): string[] {
  return text === "" ? [] : text.split(",").map(unescapeOctal);
}

/** Bytes as text for people: what is no UTF-8 is replaced. */
export function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

/**
 * The mounts that a process sees, as it names them; "self" is the agent, which is the zone. Throws ENOENT when it has ended,
 * and an error when there are more than `MOUNT_LIMITS.mountInfoBytes` of them.
 */
export function readMountInfo(pid: number | "self"): MountInfo[] {
  const fd = openSync(`/proc/${pid}/mountinfo`, "r");
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; ; ) {
      const chunk = Buffer.allocUnsafe(64 * 1024);
      const length = readSync(fd, chunk);
      if (length === 0) return parseMountInfo(Buffer.concat(chunks).toString("latin1"));
      total += length;
      if (total > MOUNT_LIMITS.mountInfoBytes) throw new Error(`the mounts of process ${pid} are too many to be read`);
      chunks.push(chunk.subarray(0, length));
    }
  } finally {
    closeSync(fd);
  }
}
