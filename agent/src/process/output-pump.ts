import type { Readable } from "node:stream";
import type { OutputBuffer } from "./output-buffer.js";

/**
 * Reads a descriptor into an OutputBuffer, and stops reading while the buffer is full: the process then stops as well, when
 * its pipe is full.
 */
export class OutputPump {
  readonly buffer: OutputBuffer;
  readonly #socket: Readable;
  readonly #onEnd: () => void;
  #ended = false;

  /**
   * Owns `socket`. `record` is told the stream's new length before the bytes are passed on; `onEnd` is called once, after the
   * buffer was closed.
   */
  constructor(socket: Readable, buffer: OutputBuffer, record: (length: number) => void, onEnd: () => void) {
    this.buffer = buffer;
    this.#socket = socket;
    this.#onEnd = onEnd;
    socket.on("data", (chunk: Buffer) => {
      // After the grace what a descendant still writes is read and lost, so that it does not die of SIGPIPE.
      if (this.#ended) return;
      record(buffer.end + chunk.length);
      if (!buffer.push(chunk)) socket.pause();
    });
    buffer.onWritable = () => socket.resume();
    socket.once("end", () => this.#end(false));
    socket.once("error", () => this.#end(false));
    socket.once("close", () => this.#end(false));
    // A full buffer on take-up (a restarted agent) waits like any other.
    if (!buffer.writable) socket.pause();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it waits for a reader to make room, rather than for the process. */
  get heldUp(): boolean {
    return !this.#ended && !this.buffer.writable && this.buffer.readers > 0;
  }

  /** Ends the stream although the descriptor is still open elsewhere. */
  abandon(): void {
    this.#end(true);
    this.#socket.resume();
  }

  /** Closes the descriptor. */
  destroy(): void {
    this.#socket.destroy();
  }

  #end(heldOpen: boolean): void {
    if (!heldOpen) this.#socket.destroy();
    if (this.#ended) return;
    this.#ended = true;
    this.buffer.close(heldOpen);
    this.#onEnd();
  }
}
