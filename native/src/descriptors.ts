import type { Socket } from "node:net";
import { addon } from "./addon.js";

/** A pipe, both ends close-on-exec. pipe2(2). */
export function pipe(): { read: number; write: number } {
  return addon().pipe();
}

/** A connected pair of Unix stream sockets, close-on-exec. socketpair(2). */
export function socketPair(): [number, number] {
  return addon().socketPair(false);
}

/** The same with SOCK_SEQPACKET, as PID 1's control socket is. */
export function packetPair(): [number, number] {
  return addon().socketPair(true);
}

/** A duplicate, close-on-exec. fcntl(2) F_DUPFD_CLOEXEC. */
export function dup(fd: number): number {
  return addon().dup(fd);
}

/** close(2). Throws EBADF: closing twice is a bug that would hit somebody else's descriptor. */
export function closeFd(fd: number): void {
  addon().closeFd(fd);
}

/** A memfd that holds `contents` and can never change again (sealed against write, grow, shrink). memfd_create(2). */
export function memfd(name: string, contents: Uint8Array): number {
  return addon().memfd(name, contents);
}

/** A sealed memfd with the contents of a regular file; holes stay holes. Blocks for as long as the copy takes. */
export function memfdFromFile(name: string, path: string): number {
  return addon().memfdFromFile(name, path);
}

/** A new pseudo-terminal of that window size; both ends close-on-exec. pty(7). */
export function openPty(rows: number, columns: number): { master: number; slave: number } {
  return addon().openPty(rows, columns);
}

/**
 * The other end of the pseudo-terminal that an opened ptmx is, of that window size; close-on-exec. It is of the devpts that the ptmx
 * is of: with that of a container the terminal has a name there. ioctl_tty(2) TIOCSPTLCK, TIOCGPTPEER.
 */
export function openPtySlave(master: number, rows: number, columns: number): number {
  return addon().openPtySlave(master, rows, columns);
}

/** The window size of a tty, given by either end; SIGWINCH follows when it changes. ioctl_tty(2) TIOCSWINSZ. */
export function setWindowSize(fd: number, rows: number, columns: number): void {
  addon().setWindowSize(fd, rows, columns);
}

/** The character that means end of file on this tty now (VEOF); -1 when it is not in canonical mode or has none. termios(3). */
export function ttyEofCharacter(fd: number): number {
  return addon().ttyEofCharacter(fd);
}

/** Who made the other end of a Unix socket. unix(7) SO_PEERCRED. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number } {
  return addon().peerCredentials(fd);
}

/**
 * Sends bytes with descriptors on a connected Unix socket; they stay the sender's. False when it would block. Of a stream socket's
 * bytes fewer may be taken: send one. unix(7) SCM_RIGHTS.
 */
export function sendDescriptors(socket: number, bytes: Uint8Array, fds: readonly number[]): boolean {
  return addon().sendPacket(socket, bytes, fds);
}

/** The descriptor of a connected Unix socket, which stays the socket's. Throws when it has none (not connected, or closed). */
export function socketFd(socket: Socket): number {
  const handle = (socket as { _handle?: { fd?: unknown } })._handle;
  const fd = handle?.fd;
  if (typeof fd !== "number" || fd < 0)
    throw new Error("the socket has no descriptor: it is not connected, or closed already");
  return fd;
}
