import { chmod, chown, rename, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";

/**
 * Listens on a Unix socket that appears at `path` at once with its final mode and group, replacing what a dead bridge left.
 * The caller is sure that no other bridge lives: it holds the state store's lock.
 */
export async function listenAt(
  path: string,
  { gid, mode }: { gid: number | undefined; mode: number },
  onConnection: (socket: Socket) => void,
  onError: (error: Error) => void,
): Promise<Server> {
  const server = createServer(onConnection);
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  // Nobody else may connect before the mode is right.
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(temporary, () => {
        server.off("error", reject);
        // accept(2) can fail at any time, for want of descriptors for instance; the next one may not.
        server.on("error", onError);
        resolve();
      });
    });
  } finally {
    process.umask(umask);
  }
  try {
    if (gid !== undefined) await chown(temporary, process.getuid?.() ?? 0, gid);
    await chmod(temporary, mode);
    await rename(temporary, path);
  } catch (thrown) {
    server.close();
    throw thrown;
  }
  return server;
}
