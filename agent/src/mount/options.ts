import { type FsOption, MOUNT_ATTR, PROPAGATION } from "@zone/native";
import { invalid } from "../errors.js";
import { MOUNT_LIMITS } from "./limits.js";

/** Bits of MOUNT_ATTR to set and to clear. */
export interface AttributeChange {
  set: number;
  clear: number;
}

/** The options of a mount, told apart: what the mount takes, and what the file system takes. */
export interface MountOptions {
  attributes: AttributeChange;
  /** For the mounts below as well ("rro"). */
  recursiveAttributes: AttributeChange;
  /** One of PROPAGATION. */
  propagation: { kind: number; recursive: boolean } | undefined;
  /** "rbind": with what is mounted below the source. */
  recursive: boolean;
  /** In the order in which they came. */
  fs: readonly FsOption[];
}

const ATIMES = MOUNT_ATTR.NOATIME | MOUNT_ATTR.STRICTATIME;

/** Flags of mount(8) that are attributes of a mount: what each sets, and clears. */
const ATTRIBUTES: Readonly<Record<string, AttributeChange>> = {
  ro: { set: MOUNT_ATTR.RDONLY, clear: 0 },
  rw: { set: 0, clear: MOUNT_ATTR.RDONLY },
  nosuid: { set: MOUNT_ATTR.NOSUID, clear: 0 },
  suid: { set: 0, clear: MOUNT_ATTR.NOSUID },
  nodev: { set: MOUNT_ATTR.NODEV, clear: 0 },
  dev: { set: 0, clear: MOUNT_ATTR.NODEV },
  noexec: { set: MOUNT_ATTR.NOEXEC, clear: 0 },
  exec: { set: 0, clear: MOUNT_ATTR.NOEXEC },
  noatime: { set: MOUNT_ATTR.NOATIME, clear: MOUNT_ATTR.STRICTATIME },
  atime: { set: 0, clear: MOUNT_ATTR.NOATIME },
  relatime: { set: 0, clear: ATIMES },
  norelatime: { set: 0, clear: 0 },
  strictatime: { set: MOUNT_ATTR.STRICTATIME, clear: MOUNT_ATTR.NOATIME },
  nostrictatime: { set: 0, clear: MOUNT_ATTR.STRICTATIME },
  nodiratime: { set: MOUNT_ATTR.NODIRATIME, clear: 0 },
  diratime: { set: 0, clear: MOUNT_ATTR.NODIRATIME },
  nosymfollow: { set: MOUNT_ATTR.NOSYMFOLLOW, clear: 0 },
  symfollow: { set: 0, clear: MOUNT_ATTR.NOSYMFOLLOW },
};

const PROPAGATIONS: Readonly<Record<string, number>> = {
  private: PROPAGATION.PRIVATE,
  slave: PROPAGATION.SLAVE,
  shared: PROPAGATION.SHARED,
  unbindable: PROPAGATION.UNBINDABLE,
};

/** Changes of one kind of mount: the later option wins. */
function add(change: AttributeChange, { set, clear }: AttributeChange): void {
  change.set = (change.set & ~clear) | set;
  change.clear = (change.clear & ~set) | clear;
}

/**
 * Options as mount(8) has them, also several in one string with commas between. Of what contradicts itself the last counts.
 * INVALID_MOUNT for what cannot be one; whether the file system knows its own options is the kernel's to say.
 */
export function parseOptions(texts: readonly string[]): MountOptions {
  const options = texts.flatMap((text) => text.split(",")).filter((text) => text !== "");
  if (options.length > MOUNT_LIMITS.options) {
    throw invalid("INVALID_MOUNT", `a mount has ${options.length} options; at most ${MOUNT_LIMITS.options} are taken`);
  }
  const attributes = { set: 0, clear: 0 };
  const recursiveAttributes = { set: 0, clear: 0 };
  let propagation: MountOptions["propagation"];
  let recursive = false;
  const fs: FsOption[] = [];
  for (const option of options) {
    if (option === "defaults" || option === "bind") continue;
    if (option === "rbind") {
      recursive = true;
      continue;
    }
    const plain = own(ATTRIBUTES, option);
    const below = option.startsWith("r") ? own(ATTRIBUTES, option.slice(1)) : undefined;
    const kind = own(PROPAGATIONS, option.replace(/^r(?!w)/, ""));
    if (plain) add(attributes, plain);
    else if (below) add(recursiveAttributes, below);
    else if (kind !== undefined) propagation = { kind, recursive: option.startsWith("r") };
    else fs.push(parseFsOption(option));
  }
  return { attributes, recursiveAttributes, propagation, recursive, fs };
}

function parseFsOption(option: string): FsOption {
  if (Buffer.byteLength(option) > MOUNT_LIMITS.optionBytes || /[\0\n]/.test(option) || option.startsWith("=")) {
    throw invalid(
      "INVALID_MOUNT",
      `the mount option "${option.slice(0, 40)}" has no name, has control characters, or more than ${MOUNT_LIMITS.optionBytes} bytes`,
    );
  }
  const equals = option.indexOf("=");
  const key = equals < 0 ? option : option.slice(0, equals);
  // The kernel's own key for what is mounted: it comes from the mount's source alone.
  if (key === "source") throw invalid("INVALID_MOUNT", `"source" is no mount option: say it in the mount's source`);
  return equals < 0 ? [option] : [key, option.slice(equals + 1)];
}

/** A property that is the record's own: an option may be called "constructor". */
function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
