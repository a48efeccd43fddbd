import { chown, stat } from "node:fs/promises";
import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { type Companion, endCompanions, startCompanion, whyEnded } from "./companions.js";
import type { DomainShare } from "./driver.js";
import type { Identity } from "./qemu-process.js";

/** Where Debian's qemu-system-common has it; not on PATH, since QEMU's own tools start it. */
export const VIRTIOFSD = "/usr/lib/qemu/virtiofsd";

/** virtiofsd is ready within milliseconds; on a busy host it may take longer. */
const READY_MS = 20_000;

/** More of them are refused: each is a device and a process. */
export const MAX_SHARES = 8;

/** A share that is being served: its socket's name in the domain's folder, and the process. */
export interface ServedShare {
  socket: string;
  companion: Companion;
}

/**
 * Serves folders of the host for the VMM with `identity`, each with a virtiofsd of its own, which locks itself into the folder (mount,
 * pid and network namespaces, few capabilities, seccomp) and ends when the VMM does. FAILED_PRECONDITION/VIRTIOFSD_MISSING,
 * NOT_FOUND/SOURCE_NOT_FOUND, INTERNAL/SHARE_FAILED.
 */
export async function serveShares(
  virtiofsd: string,
  directory: string,
  shares: readonly DomainShare[],
  identity: Identity | undefined,
): Promise<ServedShare[]> {
  if (shares.length > MAX_SHARES)
    throw bridgeError(
      "INVALID_ARGUMENT",
      "INVALID_MOUNT",
      `a zone can have ${MAX_SHARES} folders of the host, not ${shares.length}`,
    );
  const served: ServedShare[] = [];
  try {
    // One after the other: they are few, and each must be undone when a later one fails.
    for (const [index, share] of shares.entries()) {
      const socket = `fs-${index}.sock`;
      const companion = await start(virtiofsd, directory, share, socket);
      served.push({ socket, companion });
      await ready(companion, directory, socket, share);
      if (identity) await chown(`${directory}/${socket}`, identity.uid, identity.gid);
    }
    return served;
  } catch (error) {
    await endCompanions(served.map(({ companion }) => companion));
    throw error;
  }
}

async function start(virtiofsd: string, directory: string, share: DomainShare, socket: string): Promise<Companion> {
  const source = await folder(share);
  await stat(virtiofsd).catch((cause) => {
    throw virtiofsdMissing(virtiofsd, cause);
  });
  const [binary = "", ...args] = shareCommand(virtiofsd, { ...share, path: source }, socket);
  return startCompanion(`virtiofsd-${share.tag}`, { binary, args, directory, files: [], identity: undefined });
}

/**
 * virtiofsd in a mount namespace of its own. It has no option to serve a folder read-only, so there the folder is mounted over itself,
 * read-only, before it starts: nothing that a zone can say to it writes through that, since it has given up CAP_SYS_ADMIN by then.
 * What is mounted below a read-only folder is not served: it would be writable. The tmpfs takes its lock file, named for the socket.
 */
export function shareCommand(virtiofsd: string, { path, readOnly }: DomainShare, socket: string): string[] {
  const readOnlyMount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && ';
  const locks = "mkdir -p /var/run/virtiofsd && mount -t tmpfs -o size=64k,mode=700 tmpfs /var/run/virtiofsd && ";
  const script = `${locks}${readOnly ? readOnlyMount : ""}exec "$2" -f --socket-path="$3" -o source="$1" -o cache=auto -o xattr -o log_level=warn`;
  return [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--",
    "/bin/sh",
    "-c",
    script,
    "sh",
    path,
    virtiofsd,
    socket,
  ];
}

async function ready(
  { process: server, record }: Companion,
  directory: string,
  socket: string,
  share: DomainShare,
): Promise<void> {
  const deadline = performance.now() + READY_MS;
  let ended = false;
  server.exited().then(() => {
    ended = true;
  });
  while (!ended && performance.now() < deadline) {
    try {
      await stat(`${directory}/${socket}`);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  await server.kill();
  const why = await whyEnded({ process: server, record }, directory, await server.exited());
  throw bridgeError("INTERNAL", "SHARE_FAILED", `${share.path} cannot be shared with the zone: ${why}`);
}

/** The path of a folder as virtiofsd takes it. A comma would begin another option there. */
async function folder({ path }: DomainShare): Promise<string> {
  if (!path.startsWith("/") || /[,\n\0]/.test(path))
    throw bridgeError(
      "INVALID_ARGUMENT",
      "INVALID_MOUNT",
      `"${path}" cannot be shared: it is to be absolute, without commas`,
    );
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw bridgeError("NOT_FOUND", "SOURCE_NOT_FOUND", `${path} cannot be shared: ${cause.message}`, undefined, cause);
  });
  if (!found.isDirectory()) throw bridgeError("INVALID_ARGUMENT", "INVALID_MOUNT", `${path} is not a folder`);
  return path;
}

function virtiofsdMissing(path: string, cause: unknown): ZoneError {
  const message = `there is no ${path}, which shares folders of the host with a zone: apt-get install qemu-system-common`;
  return bridgeError(
    "FAILED_PRECONDITION",
    "VIRTIOFSD_MISSING",
    message,
    { type: "program", name: "virtiofsd" },
    cause,
  );
}
