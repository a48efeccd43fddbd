import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A connection with what it has said so far: enough to speak a protocol of a test. */
export class Connection {
  private received = Buffer.alloc(0);
  private failed: Error | undefined;

  private constructor(readonly socket: Socket) {
    socket.on("data", (data) => {
      this.received = Buffer.concat([this.received, data]);
    });
    socket.on("error", (error) => {
      this.failed = error;
    });
  }

  static async open(port: number): Promise<Connection> {
    const connection = new Connection(connect(port, "127.0.0.1"));
    await once(connection.socket, "connect");
    return connection;
  }

  /** Settles with what `take` makes of the bytes received, as soon as it makes anything; they are taken away then. */
  async receive<T>(take: (bytes: Buffer) => { value: T; length: number } | undefined): Promise<T> {
    for (;;) {
      const taken = take(this.received);
      if (taken) {
        this.received = this.received.subarray(taken.length);
        return taken.value;
      }
      if (this.failed) throw this.failed;
      if (this.socket.readableEnded || this.socket.destroyed) throw new Error("the connection was closed");
      await Promise.race([once(this.socket, "data"), once(this.socket, "close")]);
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Waits until a service answers: `ask` is tried again, on a new connection, while it fails. */
export async function whenAnswering<T>(ask: () => Promise<T>, timeoutMs: number): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250)); // the service is starting, and has no other sign of it
    }
  }
}

/** The rows that a query gives, as text, over PostgreSQL's simple query protocol (version 3), with trust authentication. */
export async function postgres(port: number, query: string): Promise<string[][]> {
  const connection = await Connection.open(port);
  try {
    const parameters = Buffer.from("user\0postgres\0database\0postgres\0\0");
    connection.socket.write(Buffer.concat([uint32(8 + parameters.length), uint32(196_608), parameters]));
    await untilReady(connection);
    const text = Buffer.from(`${query}\0`);
    connection.socket.write(Buffer.concat([Buffer.from("Q"), uint32(4 + text.length), text]));
    return await untilReady(connection);
  } finally {
    connection.close();
  }
}

async function untilReady(connection: Connection): Promise<string[][]> {
  const rows: string[][] = [];
  for (;;) {
    const { type, body } = await connection.receive((bytes) => {
      if (bytes.length < 5) return undefined;
      const length = 1 + bytes.readUInt32BE(1);
      if (bytes.length < length) return undefined;
      return { value: { type: String.fromCharCode(bytes[0] ?? 0), body: bytes.subarray(5, length) }, length };
    });
    if (type === "E") throw new Error(`PostgreSQL: ${body.toString().replaceAll("\0", " ")}`);
    if (type === "D") rows.push(columns(body));
    if (type === "Z") return rows;
  }
}

function columns(row: Buffer): string[] {
  const values: string[] = [];
  let at = 2;
  for (let column = 0; column < row.readUInt16BE(0); column++) {
    const length = Math.max(0, row.readInt32BE(at));
    values.push(row.toString("utf8", at + 4, at + 4 + length));
    at += 4 + length;
  }
  return values;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Sends a command to redis (its inline form) and settles with the line that it answers; a bulk string's content is the next line. */
export async function redis(connection: Connection, command: string): Promise<string> {
  connection.socket.write(`${command}\r\n`);
  const line = () =>
    connection.receive((bytes) => {
      const end = bytes.indexOf("\r\n");
      return end < 0 ? undefined : { value: bytes.toString("utf8", 0, end), length: end + 2 };
    });
  const first = await line();
  return first.startsWith("$") && first !== "$-1" ? line() : first;
}
