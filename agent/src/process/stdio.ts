import { closeSync, fchownSync, openSync } from "node:fs";
import type { Socket } from "node:net";
import { closeFd, dup, openPty, pipe, setWindowSize, streamFromFd, ttyEofCharacter } from "@zone/native";
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
  stdout: Socket;
  /** Undefined with a tty. */
  stderr: Socket | undefined;
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

/** Opens the stdio of a new process. */
export function openStdio(shape: StdioShape): { agent: AgentStdio; child: ChildStdio } {
  if (shape.tty) {
    // The size is set before the process exists, so that its first look finds it.
    const { master, slave } = openPty(shape.tty.rows, shape.tty.columns);
    const agent = ttyStdio(master, shape.stdin);
    return { agent, child: childStdio([slave], true) };
  }
  const fds: number[] = [];
  try {
    const open = () => {
      const ends = pipe();
      fds.push(ends.read, ends.write);
      return ends;
    };
    const stdin = shape.stdin ? open() : undefined;
    const nothing = stdin ? undefined : openSync("/dev/null", "r");
    if (nothing !== undefined) fds.push(nothing);
    const stdout = open();
    const stderr = open();
    const agent = pipeStdio(stdout.read, stderr.read, stdin?.write);
    return { agent, child: childStdio([stdin?.read ?? nothing ?? -1, stdout.write, stderr.write], shape.stdin) };
  } catch (error) {
    for (const fd of fds) closeSync(fd);
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

function pipeStdio(stdoutFd: number, stderrFd: number, stdinFd: number | undefined): AgentStdio {
  const stdout = streamFromFd(stdoutFd, { readable: true, writable: false });
  const stderr = streamFromFd(stderrFd, { readable: true, writable: false });
  const stdin = stdinFd === undefined ? undefined : streamFromFd(stdinFd, { readable: false, writable: true });
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
      ours = [];
      const [first, second, third] = fds;
      return [first, second ?? dup(first), third ?? dup(first)];
    },
    close: () => {
      for (const fd of ours) closeFd(fd);
      ours = [];
    },
  };
}
