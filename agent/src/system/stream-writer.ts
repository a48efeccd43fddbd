/** The server's side of a stream that a client may read slowly. */
export interface MessageStream<Message> {
  write(message: Message): boolean;
  on(event: "drain" | "cancelled", listener: () => void): unknown;
}

/**
 * Writes what `next` gives as long as the stream takes it, and again when it drains or `wake` is called. Settles when the
 * client cancels, or when `next` gives "end".
 */
export function writeFrom<Message>(
  stream: MessageStream<Message>,
  next: () => Message | "end" | undefined,
  subscribe: (wake: () => void) => () => void,
): Promise<void> {
  return new Promise((resolve) => {
    let full = false;
    let over = false;
    const finish = () => {
      over = true;
      leave();
      resolve();
    };
    const pump = () => {
      while (!full && !over) {
        const message = next();
        if (message === undefined) return;
        if (message === "end") return void finish();
        full = !stream.write(message);
      }
    };
    const leave = subscribe(pump);
    stream.on("cancelled", finish);
    stream.on("drain", () => {
      full = false;
      pump();
    });
    pump();
  });
}
