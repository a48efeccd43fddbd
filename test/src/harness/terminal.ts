import { type IPty, spawn } from "node-pty";
import { type TestBridge, zonectlPath } from "./bridge.js";

/** What a person does: waits to see something, then acts. */
export type Step = [see: RegExp, act: (terminal: IPty) => void];

/** Runs zonectl on a real terminal of 101 columns and 33 rows, taking the steps in order; a step sees only what came after the last. */
export function onTerminal(
  bridge: TestBridge,
  args: string[],
  steps: Step[],
): Promise<{ code: number; output: string }> {
  const terminal = spawn(process.execPath, [zonectlPath, ...args], {
    ...{ cols: 101, rows: 33, name: "xterm" },
    env: { ...process.env, ...bridge.env },
  });
  let output = "";
  let seen = 0;
  let next = 0;
  return new Promise((resolve) => {
    terminal.onData((data) => {
      output += data;
      const step = steps[next];
      if (!step?.[0].test(output.slice(seen))) return;
      seen = output.length;
      next++;
      step[1](terminal);
    });
    terminal.onExit(({ exitCode }) => resolve({ code: exitCode, output }));
  });
}
