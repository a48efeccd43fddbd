import { int64 } from "./numbers.js";
import { printable, shortened } from "./text/printable.js";

/** What is going on: as zone.bridge.v1.Progress. */
export interface ProgressStep {
  readonly phase?: string | null;
  readonly message?: string | null;
  readonly done?: number | null;
  readonly total?: number | null;
}

/** Where progress is shown. */
export interface ProgressOutput {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): void;
}

/** A fast start shows nothing: on a terminal a flash would only disturb. */
const TERMINAL_DELAY_MS = 200;
const PLAIN_DELAY_MS = 1_000;

/** Progress as text. */
export function describeStep(step: ProgressStep): string {
  const { phase, message } = step;
  const total = int64(step.total);
  const share = total > 0 ? ` (${Math.min(100, Math.floor((int64(step.done) / total) * 100))}%)` : "";
  return printable((message || phase || "working") + share);
}

/**
 * Shows what a call is doing once it takes longer than a moment: one line that is rewritten on a terminal, else a line for
 * each new phase.
 */
export class ProgressDisplay {
  private step: ProgressStep | undefined;
  private shownLine = "";
  private readonly shownPhases = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private isDue = false;

  constructor(private readonly output: ProgressOutput) {}

  update(step: ProgressStep): void {
    this.step = step;
    if (this.isDue) this.show(step);
    else this.timer ??= setTimeout(() => this.due(), this.output.isTTY ? TERMINAL_DELAY_MS : PLAIN_DELAY_MS);
  }

  /** Takes the line away; nothing is shown until the next update. */
  clear(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.output.isTTY && this.shownLine !== "") this.output.write("\r\x1b[K");
    this.shownLine = "";
  }

  private due(): void {
    this.isDue = true;
    if (this.step) this.show(this.step);
  }

  private show(step: ProgressStep): void {
    const text = describeStep(step);
    if (this.output.isTTY) {
      const line = shortened(text, Math.max(20, this.output.columns - 1));
      if (line === this.shownLine) return;
      this.shownLine = line;
      this.output.write(`\r\x1b[K${line}`);
    } else {
      const phase = step.phase || text;
      if (this.shownPhases.has(phase)) return;
      this.shownPhases.add(phase);
      this.output.write(`zonectl: ${text}\n`);
    }
  }
}

/** Progress on a stream of this process. */
export function progressOn(stream: NodeJS.WriteStream): ProgressDisplay {
  return new ProgressDisplay({
    isTTY: stream.isTTY === true,
    columns: stream.columns || 80,
    write: (text) => void stream.write(text),
  });
}
