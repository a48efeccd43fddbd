import { Duplex } from "node:stream";

/** More than an honest peer's window lets HTTP/2 write before the peer has read (http2-session.ts). */
const WRITE_BEHIND_BYTES = 2 * 1024 * 1024;
const BUFFER_BYTES = 64 * 1024;

/**
 * A Duplex over another for HTTP/2, whose writes are done before they are through.
 *
 * node:http2 does not read while a write of its own is under way (Http2Session::MaybeStopReading). When both sides write more than the
 * transport buffers, each waits for the other to read, for ever; the windows of 64 KiB that gRPC has by default only hide it.
 * Here a write is done at once as long as not too much waits to be written. That is bounded by the peer's HTTP/2 window, and by
 * WRITE_BEHIND_BYTES for a peer that grants more than it reads: it slows its own link only. One side that always reads is enough
 * for both to go on.
 */
export class DecoupledDuplex extends Duplex {
  /** The last bytes have come, or are not wanted any more. */
  protected ended = false;

  constructor(protected readonly raw: Duplex) {
    super({ readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES });
  }

  /** Bytes from the peer. */
  receive(bytes: Buffer): void {
    if (!this.ended && !this.destroyed && !this.push(bytes)) this.raw.pause();
  }

  /** The peer's last byte has been received. */
  receiveEnd(): void {
    if (this.ended || this.destroyed) return;
    this.ended = true;
    this.push(null);
  }

  /** What goes on the wire for a chunk. */
  protected encode(chunk: Buffer): Buffer[] {
    return [chunk];
  }

  override _read(): void {
    this.raw.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this._writev([{ chunk }], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const wire = chunks.flatMap(({ chunk }) => this.encode(chunk));
    const last = wire.pop() ?? Buffer.alloc(0);
    const behind = this.raw.writableLength <= WRITE_BEHIND_BYTES;
    this.raw.cork(); // HTTP/2 writes a frame's head and its payload apart: one system call for both
    for (const part of wire) this.raw.write(part);
    this.raw.write(last, behind ? undefined : done);
    this.raw.uncork();
    if (behind) done();
  }
}

/** All of a stream, which it owns. HTTP/2 has no use for half of one: the end of either direction is the end. */
export class WholeStream extends DecoupledDuplex {
  constructor(raw: Duplex) {
    super(raw);
    raw.on("data", (chunk: Buffer) => this.receive(chunk));
    raw.on("end", () => this.receiveEnd());
    raw.on("error", (error) => this.destroy(error));
    raw.on("close", () => this.receiveEnd());
    this.once("end", () => this.destroy());
  }

  override _final(done: (error?: Error | null) => void): void {
    this.raw.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.raw.destroy();
    done(error);
  }
}
