import { fchownSync, openSync } from "node:fs";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import {
  closeFd,
  dup,
  openPty,
  pipe,
  type StreamMode,
  setWindowSize,
  streamFromFd,
  ttyEofCharacter,
} from "@zone/native";
import { agentError } from "../errors.js";
import type { WindowSize } from "./spec.js";
import type { StdinTarget } from "./stdin.js";

/**
 * The descriptors of a process at both ends. The agent's ends:
 *
 *     tty     kept = [master]                    pipes   kept = [stdout, stderr, stdin?]
 *
 * PID 1 keeps duplicates of them in this order, so that a restarted agent finds them again; stdin comes last because it is
 * the one that may be gone.
 *
 * Ttys are opened with openpty(3) through the native addon and not with node-pty: node-pty cannot take up a master that an
 * earlier agent opened, and its write() has neither back-pressure nor an end.
 */
export interface AgentStdio {
  stdout: Readable;
  /** Undefined with a tty. */
  stderr: Readable | undefined;
  /** Undefined when nothing can be written. */
  stdin: StdinTarget | undefined;
  /** Descriptors for PID 1 to duplicate; they stay the streams'. Asked for once, when the process is spawned. */
  kept(): number[];
  /** Told when stdin has ended, and PID 1 must drop its duplicate at this index of `kept`. */
  onStdinClosed: (keptIndex: number) => void;
  /** Throws NO_TTY. */
  resize(size: WindowSize): void;
  destroy(): void;
}

/** The child's ends, until they are handed to PID 1. */
export interface ChildStdio {
  /** Hands them over: stdin, stdout, stderr belong to the caller now. `owner` is a uid that must be able to open them again. */
  take(owner: number): [number, number, number];
  close(): void;
}

export interface StdioShape {
  tty: WindowSize | undefined;
  stdin: boolean;
}

/** Index of stdin among the kept descriptors of a process with pipes. */
const STDIN_KEPT = 2;

/** Both ends of a new tty. */
export interface Pty {
  master: number;
  slave: number;
}

/** One of the zone's own devpts. */
const openZonePty = ({ rows, columns }: WindowSize): Pty => openPty(rows, columns);

/** Opens the stdio of a new process, with a tty that `openTty` gives; nothing stays open when it throws. */
export function openStdio(shape: StdioShape, openTty = openZonePty): { agent: AgentStdio; child: ChildStdio } {
  if (shape.tty) {
    // The size is set before the process exists, so that its first look finds it.
    const { master, slave } = openTty(shape.tty);
    return { agent: closingOnError([slave], () => ttyStdio(master, shape.stdin)), child: childStdio([slave], true) };
  }
  const ours: number[] = [];
  const theirs: number[] = [];
  const open = (reads: "agent" | "child") => {
    const { read, write } = pipe();
    ours.push(reads === "agent" ? read : write);
    theirs.push(reads === "agent" ? write : read);
  };
  const agent = closingOnError(theirs, () => {
    closingOnError(ours, () => {
      if (shape.stdin) open("child");
      else theirs.push(openSync("/dev/null", "r"));
      open("agent");
      open("agent");
    });
    const [stdin, stdout = -1, stderr = -1] = shape.stdin ? ours : [undefined, ...ours];
    return pipeStdio(stdout, stderr, stdin);
  });
  const [stdin = -1, stdout = -1, stderr = -1] = theirs;
  return { agent, child: childStdio([stdin, stdout, stderr], shape.stdin) };
}

/** What `open` gives; when it throws the descriptors in `fds`, as they are then, are closed. */
function closingOnError<T>(fds: readonly number[], open: () => T): T {
  try {
    return open();
  } catch (error) {
    for (const fd of fds) closeFd(fd);
    throw error;
  }
}

/** Takes up the kept descriptors of a process that an earlier agent started; those missing read as ended. */
export function adoptStdio(
  tty: boolean,
  stdin: boolean,
  kept: readonly (number | undefined)[],
): AgentStdio | undefined {
  const [first, second, third] = kept;
  if (tty) return first === undefined ? undefined : ttyStdio(first, stdin);
  if (first === undefined || second === undefined) {
    for (const fd of kept) if (fd !== undefined) closeFd(fd);
    return undefined;
  }
  return pipeStdio(first, second, third);
}

/** Owns the descriptors, also when it throws. */
function pipeStdio(stdoutFd: number, stderrFd: number, stdinFd: number | undefined): AgentStdio {
  const fds = stdinFd === undefined ? [stdoutFd, stderrFd] : [stdoutFd, stderrFd, stdinFd];
  const streams: Socket[] = [];
  const open = (mode: StreamMode): Socket => {
    const fd = fds[streams.length] ?? -1;
    try {
      const stream = streamFromFd(fd, mode);
      streams.push(stream);
      return stream;
    } catch (error) {
      // It has closed its own; those before it are their streams', those after it nobody's yet.
      for (const rest of fds.slice(streams.length + 1)) closeFd(rest);
      for (const stream of streams) stream.destroy();
      throw error;
    }
  };
  const stdout = open({ readable: true, writable: false });
  const stderr = open({ readable: true, writable: false });
  const stdin = stdinFd === undefined ? undefined : open({ readable: false, writable: true });
  let stdinOpen = stdin !== undefined;
  const stdio: AgentStdio = {
    ...{ stdout, stderr },
    stdin: stdin && {
      write: (bytes, taken) => stdin.write(bytes, taken),
      // destroy, not end: a pipe has no shutdown(2), and all that was written has been taken.
      finish: () => stdin.destroy(),
      drop: () => stdin.destroy(),
    },
    kept: () => (stdinOpen && stdinFd !== undefined ? [stdoutFd, stderrFd, stdinFd] : [stdoutFd, stderrFd]),
    onStdinClosed: () => {},
    resize: () => {
      throw agentError("FAILED_PRECONDITION", "NO_TTY", "the process has no tty");
    },
    destroy: () => {
      for (const socket of [stdout, stderr, stdin]) socket?.destroy();
    },
  };
  stdin?.on("error", () => {}); // EPIPE comes to the write's callback as well
  stdin?.once("close", () => {
    stdinOpen = false;
    stdio.onStdinClosed(STDIN_KEPT);
  });
  return stdio;
}

/** Control-D, which a terminal in raw mode passes on as a byte. */
const CONTROL_D = 4;
const NEWLINES = new Set([0x0a, 0x0d]);

function ttyStdio(masterFd: number, withStdin: boolean): AgentStdio {
  const socket = streamFromFd(masterFd, { readable: true, writable: withStdin });
  let open = true;
  socket.once("close", () => {
    open = false;
  });
  let lastByte: number | undefined;
  const stdin: StdinTarget = {
    write: (bytes, taken) => {
      lastByte = bytes.at(-1);
      socket.write(bytes, taken);
    },
    finish: () => {
      if (!open) return;
      const character = ttyEofCharacter(masterFd);
      const eof = character < 0 ? CONTROL_D : character;
      // VEOF after part of a line only delivers that part; the second one is the end, termios(3).
      const partial = character >= 0 && lastByte !== undefined && lastByte !== eof && !NEWLINES.has(lastByte);
      socket.write(partial ? Uint8Array.of(eof, eof) : Uint8Array.of(eof));
    },
    drop: () => {},
  };
  return {
    ...{ stdout: socket, stderr: undefined },
    stdin: withStdin ? stdin : undefined,
    kept: () => [masterFd],
    onStdinClosed: () => {},
    resize: ({ rows, columns }) => {
      if (!open) throw agentError("FAILED_PRECONDITION", "PROCESS_NOT_RUNNING", "the process's tty is closed");
      setWindowSize(masterFd, rows, columns);
    },
    destroy: () => socket.destroy(),
  };
}

/** `fds` are stdin, stdout and stderr, or one tty for all three; without `stdin` the first is /dev/null. */
function childStdio(fds: [number, number, number] | [number], stdin: boolean): ChildStdio {
  let ours: readonly number[] = fds;
  return {
    take: (owner) => {
      // /dev/stdout opens the pipe or tty again, with its owner's permissions.
      if (owner !== 0) for (const fd of fds.slice(stdin ? 0 : 1)) fchownSync(fd, owner, -1);
      const [first, second, third] = fds;
      const copies: number[] = [];
      const copy = () => {
        const fd = dup(first);
        copies.push(fd);
        return fd;
      };
      return closingOnError(copies, () => {
        const taken: [number, number, number] = [first, second ?? copy(), third ?? copy()];
        ours = [];
        return taken;
      });
    },
    close: () => {
      for (const fd of ours) closeFd(fd);
      ours = [];
    },
  };
}
