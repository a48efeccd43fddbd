import { PassThrough } from "node:stream";
import { closeFd } from "@zone/native";
import type { WindowSize } from "./spec.js";
import type { StdinTarget } from "./stdin.js";
import { type AgentStdio, adoptStdio } from "./stdio.js";

/** The stdio of a process whose tty somebody else opens: crun. */
export interface LateTty {
  agent: AgentStdio;
  /** The tty is there: its size is set, and what was written meanwhile goes to it. Owns `master`. */
  bind(master: number): void;
}

type Write = [bytes: Uint8Array, taken: (error?: Error | null) => void];

/** A tty of this size that comes later, under the same contract as one that is there. */
export function lateTty(size: WindowSize, withStdin: boolean): LateTty {
  const stdout = new PassThrough();
  const writes: Write[] = [];
  let wanted = size;
  let finished = false;
  let destroyed = false;
  let tty: AgentStdio | undefined;
  const stdin: StdinTarget = {
    write: (...write) => {
      if (tty) tty.stdin?.write(...write);
      else writes.push(write);
    },
    finish: () => {
      finished = true;
      tty?.stdin?.finish();
    },
    drop: () => {
      writes.length = 0;
      tty?.stdin?.drop();
    },
  };
  const agent: AgentStdio = {
    ...{ stdout, stderr: undefined },
    stdin: withStdin ? stdin : undefined,
    kept: () => tty?.kept() ?? [],
    onStdinClosed: () => {},
    resize: (next) => {
      wanted = next;
      tty?.resize(next);
    },
    destroy: () => {
      destroyed = true;
      stdout.destroy();
      tty?.destroy();
    },
  };
  const bind = (master: number) => {
    if (destroyed) {
      closeFd(master);
      return;
    }
    tty = adoptStdio(true, withStdin, [master]);
    const source = tty?.stdout;
    if (!tty || !source) throw new Error("a master gives no tty");
    tty.resize(wanted);
    source.pipe(stdout);
    // pipe() does not pass on an end that is no EOF.
    source.once("close", () => stdout.end());
    stdout.once("close", () => source.destroy());
    for (const write of writes.splice(0)) tty.stdin?.write(...write);
    if (finished) tty.stdin?.finish();
  };
  return { agent, bind };
}
