import type * as grpc from "@grpc/grpc-js";
import { type ProcessService, type ServiceClient, ZoneError, type zone } from "@zone/proto";

type Response = zone.agent.v1.AttachResponse;
type Open = zone.agent.v1.AttachOpen.$Properties;

export interface ExecOptions extends Omit<Open, "spec"> {
  spec?: Partial<NonNullable<Open["spec"]>>;
  /** Do not read what comes before `resume` is called. */
  paused?: boolean;
}

/** How an attachment ended. */
export interface ExecResult {
  code: number | undefined;
  signal: number | undefined;
  failed: { reason: string; exitCode: number; message: string } | undefined;
  stdout: Buffer;
  stderr: Buffer;
  gaps: { stream: number; from: number; to: number }[];
  eofs: { stream: number; offset: number; heldOpen: boolean }[];
  /** Kinds of all messages in order, output and acknowledgements once in a row. */
  order: string[];
}

/** A client's side of Attach that checks the order and offsets of what it gets. */
export class Exec {
  readonly call: grpc.ClientDuplexStream<zone.agent.v1.AttachRequest.$Properties, Response>;
  /** The process, as `opened` told it. */
  readonly opened: Promise<{ id: string; stdinOffset: number }>;
  /** Settles when the call has ended with OK; rejects with its ZoneError. */
  readonly result: Promise<ExecResult>;
  readonly stdinAcks: { offset: number; closed: boolean }[] = [];
  readonly #got: ExecResult = {
    ...{ code: undefined, signal: undefined, failed: undefined, gaps: [], eofs: [], order: [] },
    stdout: Buffer.alloc(0),
    stderr: Buffer.alloc(0),
  };
  readonly #chunks: Record<number, Buffer[]> = { 1: [], 2: [] };
  readonly #next: Record<number, number>;
  #watchers: (() => void)[] = [];
  #sent = 0;

  constructor(processes: ServiceClient<typeof ProcessService>, { paused, ...open }: ExecOptions) {
    this.call = processes.attach();
    this.#next = { 1: Number(open.stdoutFrom ?? 0), 2: Number(open.stderrFrom ?? 0) };
    let setOpened: (opened: { id: string; stdinOffset: number }) => void = () => {};
    let failOpened: (error: unknown) => void = () => {};
    this.opened = new Promise((resolve, reject) => {
      setOpened = resolve;
      failOpened = reject;
    });
    this.opened.catch(() => {});
    this.result = new Promise((resolve, reject) => {
      this.call.on("data", (message: Response) => {
        if (message.opened) {
          this.#sent = Number(message.opened.stdinOffset ?? 0);
          setOpened({ id: message.opened.process?.id ?? "", stdinOffset: this.#sent });
        }
        try {
          this.#take(message);
        } catch (error) {
          reject(error);
          this.call.cancel();
        }
        for (const watcher of this.#watchers) watcher();
      });
      this.call.on("end", () => resolve(this.#finish()));
      this.call.on("error", (error: unknown) => {
        failOpened(ZoneError.from(error));
        reject(ZoneError.from(error));
      });
    });
    this.result.catch(() => {});
    if (paused) this.call.pause();
    this.call.write({ open });
  }

  /** All of a stream so far, from where the attachment began. */
  output(stream: 1 | 2 = 1): Buffer {
    return Buffer.concat(this.#chunks[stream] ?? []);
  }

  /** Where a stream goes on: the offset after what has come. */
  position(stream: 1 | 2 = 1): number {
    return this.#next[stream] ?? 0;
  }

  /** Settles when `condition` holds; it is looked at after every message. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    const held = new Promise<void>((resolve) => {
      this.#watchers.push(() => condition() && resolve());
    });
    await Promise.race([held, this.result]);
    if (!condition()) throw new Error("the attachment ended before what was waited for");
  }

  /** Settles when stdout holds `text`. */
  untilOutput(text: string): Promise<void> {
    return this.until(() => this.output().includes(text));
  }

  /** Sends stdin at the next offset. */
  send(data: string | Uint8Array): void {
    const bytes = Buffer.from(data);
    this.call.write({ stdin: { offset: this.#sent, data: bytes } });
    this.#sent += bytes.length;
  }

  /** Ends stdin after what was sent. */
  sendEof(): void {
    this.call.write({ stdinEof: { offset: this.#sent } });
  }

  /** Drops the call, as a lost link would. */
  async drop(): Promise<void> {
    this.call.cancel();
    await this.result.catch(() => {});
  }

  #take(message: Response): void {
    const { order } = this.#got;
    const kind = message.kind ?? "none";
    if (order.length === 0 && kind !== "opened") throw new Error(`the first message was ${kind}`);
    if (["exit", "failed"].includes(order.at(-1) ?? "")) throw new Error(`${kind} came after the end`);
    if (order.at(-1) !== kind || !["output", "stdinAck"].includes(kind)) order.push(kind);
    if (message.output) this.#takeOutput(message.output);
    else if (message.gap) {
      const [stream, from, to] = [message.gap.stream ?? 0, Number(message.gap.from ?? 0), Number(message.gap.to ?? 0)];
      if (from !== this.#next[stream])
        throw new Error(`a gap of stream ${stream} begins at ${from}, not ${this.#next[stream]}`);
      this.#next[stream] = to;
      this.#got.gaps.push({ stream, from, to });
    } else if (message.eof) {
      const { stream = 0, heldOpen = false } = message.eof as { stream?: number; heldOpen?: boolean };
      this.#got.eofs.push({ stream, offset: Number(message.eof.offset ?? 0), heldOpen });
    } else if (message.stdinAck) {
      this.stdinAcks.push({ offset: Number(message.stdinAck.offset ?? 0), closed: message.stdinAck.closed ?? false });
    } else if (message.exit) {
      this.#got.code = message.exit.code ?? 0;
      this.#got.signal = message.exit.signal ?? 0;
    } else if (message.failed) {
      const { reason, message: text, exitCode } = message.failed;
      this.#got.failed = { reason: reason ?? "", message: text ?? "", exitCode: exitCode ?? 0 };
    }
  }

  #takeOutput(output: zone.agent.v1.Output.$Properties): void {
    const stream = output.stream ?? 0;
    const offset = Number(output.offset ?? 0);
    if (this.#got.eofs.some((eof) => eof.stream === stream))
      throw new Error(`output of stream ${stream} after its end`);
    if (offset !== this.#next[stream])
      throw new Error(`stream ${stream} goes on at ${offset}, not ${this.#next[stream]}`);
    const data = Buffer.from(output.data ?? []);
    this.#chunks[stream]?.push(data);
    this.#next[stream] = offset + data.length;
  }

  #finish(): ExecResult {
    return { ...this.#got, stdout: this.output(1), stderr: this.output(2) };
  }
}
