import { spawnSync } from "node:child_process";
import type { ReadStream, WriteStream } from "node:tty";

/** Rows and columns. */
export interface Size {
  readonly rows: number;
  readonly columns: number;
}

/** What a terminal without a size gets (a serial line, a pty that nobody sized). */
const DEFAULT_SIZE: Size = { rows: 24, columns: 80 };

/** The first of `streams` that is a terminal: where the window's size comes from. */
export function terminalOf(streams: readonly NodeJS.WritableStream[]): WriteStream | undefined {
  return streams.find((stream): stream is WriteStream => "isTTY" in stream && stream.isTTY === true);
}

/** The window's size now. */
export function windowSize(terminal: WriteStream | undefined): Size {
  const { rows, columns } = terminal ?? DEFAULT_SIZE;
  return rows > 0 && columns > 0 ? { rows, columns } : DEFAULT_SIZE;
}

/** Calls `changed` when the window's size has changed (SIGWINCH). Returns what ends that. */
export function watchSize(terminal: WriteStream | undefined, changed: (size: Size) => void): () => void {
  const listener = () => changed(windowSize(terminal));
  terminal?.on("resize", listener);
  return () => terminal?.off("resize", listener);
}

/**
 * Puts the terminal of `input` (standard input) in raw mode, as cfmakeraw(3) would, and returns what puts it back.
 *
 * Node's raw mode leaves output processing (OPOST, ONLCR) on, which would break programs that move the cursor with a bare
 * newline; stty turns it off. Node saved the whole termios before, so leaving raw mode restores that too; and Node puts
 * the terminal back by itself when the process exits in any way short of SIGKILL.
 */
export function enterRawMode(input: ReadStream): () => void {
  input.setRawMode(true);
  // Without stty the rest of raw mode still works, so its absence is no error.
  spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
  return () => input.setRawMode(false);
}
