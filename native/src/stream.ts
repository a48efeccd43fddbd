import type { Socket } from "node:net";

/**
 * Any pollable descriptor (pipe, pty master, socket, virtio port) as a Duplex with back-pressure; it owns the descriptor from
 * now on, also when this throws. Half-open: the end of one direction does not end the other. EIO of a pty master, which says
 * that the last slave is closed, reads as EOF.
 */
export function streamFromFd(fd: number, mode: { readable: boolean; writable: boolean }): Socket {
  throw new Error(`not yet: ${fd} ${mode.readable}`);
}
