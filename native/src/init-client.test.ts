import { describe, expect, it } from "vitest";
import { addon, POLL_READABLE } from "./addon.js";
import { closeFd, dup, packetPair, pipe } from "./descriptors.js";
import { InitClient } from "./init-client.js";
import { decodeMessage, encodeMessage, MESSAGE_BYTES, TYPE } from "./init-messages.js";
import { specOf } from "./testing/init-under-test.js";

/** PID 1's end of the socket, by hand. */
class FakeInit {
  readonly #fd: number;
  readonly client: Promise<InitClient>;

  constructor() {
    const [theirs, ours] = packetPair();
    this.#fd = ours;
    this.client = InitClient.open(theirs);
  }

  static async greeted(): Promise<{ init: FakeInit; client: InitClient }> {
    const init = new FakeInit();
    init.send(encodeMessage({ type: TYPE.hello, arg: 2, flags: 3 }));
    return { init, client: await init.client };
  }

  send(bytes: Buffer, fds: number[] = []): void {
    addon().sendPacket(this.#fd, bytes, fds);
  }

  receive(): Promise<{ bytes: Buffer; fds: number[] }> {
    return new Promise((resolve) => {
      const poll = addon().pollStart(this.#fd, POLL_READABLE, () => {
        const bytes = Buffer.alloc(MESSAGE_BYTES);
        const packet = addon().receivePacket(this.#fd, bytes);
        if (!packet) return;
        addon().pollStop(poll);
        resolve({ bytes: bytes.subarray(0, packet.length), fds: packet.fds });
      });
    });
  }

  close(): void {
    closeFd(this.#fd);
  }
}

const closing = (client: InitClient) =>
  new Promise<Error>((resolve) => {
    client.onClose = resolve;
  });

function stdio(): [number, number, number] {
  const { read, write } = pipe();
  return [read, write, dup(write)];
}

const isClosed = (fd: number) => {
  expect(() => closeFd(fd)).toThrow("EBADF");
};

describe("InitClient", () => {
  it("knows from the greeting how often the agent was restarted", async () => {
    const { init, client } = await FakeInit.greeted();
    expect(client.restarts).toBe(3);
    client.close();
    client.close();
    init.close();
  });

  it("refuses another version, another greeting, and none", async () => {
    for (const message of [{ type: TYPE.hello, arg: 1 }, { type: TYPE.spawned }]) {
      const init = new FakeInit();
      init.send(encodeMessage(message));
      await expect(init.client).rejects.toThrow("this agent speaks version 2");
      init.close();
    }
    const gone = new FakeInit();
    gone.close();
    await expect(gone.client).rejects.toThrow("closed the connection");
  });

  it.each<[string, Buffer]>([
    ["a short packet", Buffer.alloc(5)],
    ["an unknown type", encodeMessage({ type: 77 })],
    ["a record that nobody asked for", encodeMessage({ type: TYPE.record })],
    ["the end of a list that nobody asked for", encodeMessage({ type: TYPE.listEnd })],
  ])("takes %s for the end", async (_, bytes) => {
    const { init, client } = await FakeInit.greeted();
    const closed = closing(client);
    const fds = stdio();
    const spawn = client.spawn(1n, specOf(["true"]), { stdio: fds, kept: [] });
    init.send(bytes);
    await expect(spawn).rejects.toThrow(RangeError);
    expect(await closed).toBeInstanceOf(RangeError);
    for (const fd of fds) isClosed(fd);
    expect(() => client.release(1n)).toThrow("closed");
    init.close();
  });

  it("takes a record whose spec is garbage, or missing, for the end, and rejects the list", async () => {
    for (const flags of [0, 1 << 8]) {
      const { init, client } = await FakeInit.greeted();
      const listed = client.list();
      await expect(client.list()).rejects.toThrow("under way");
      const { read, write } = pipe();
      init.send(encodeMessage({ type: TYPE.record, flags }), [read]);
      closeFd(read);
      closeFd(write);
      await expect(listed).rejects.toThrow(RangeError);
      init.close();
    }
  });

  it("rejects a spawn that cannot be encoded, and closes the child's descriptors", async () => {
    const { init, client } = await FakeInit.greeted();
    const first = stdio();
    await expect(client.spawn(1n, specOf([]), { stdio: first, kept: [] })).rejects.toThrow("argv is empty");
    const second = stdio();
    await expect(client.spawn(1n, specOf(["true"]), { stdio: second, kept: [0, 0, 0, 0] })).rejects.toThrow(
      "at most 3",
    );
    const third = stdio();
    await expect(client.spawn(1n, specOf(["true"]), { stdio: third, kept: [99_999] })).rejects.toThrow("EBADF");
    for (const fd of [...first, ...second, ...third]) isClosed(fd);
    client.close();
    init.close();
  });

  it("sends everything in order when PID 1 has been slow to read", async () => {
    const { init, client } = await FakeInit.greeted();
    const COUNT = 5000; // more than a socket holds
    for (let i = 0; i < COUNT; i++) client.kill(BigInt(i), 15);
    for (let i = 0; i < COUNT; i++) {
      const { bytes } = await init.receive();
      expect(decodeMessage(bytes)).toMatchObject({ type: TYPE.kill, token: BigInt(i), arg: 15 });
    }
    client.close();
    init.close();
  });

  it("tells of an exit after the spawn has settled, though both come at once", async () => {
    const { init, client } = await FakeInit.greeted();
    const order: string[] = [];
    const exited = new Promise<void>((resolve) => {
      client.onExit = ({ token, code }) => {
        order.push(`exit ${token} ${code}`);
        resolve();
      };
    });
    const spawned = client.spawn(5n, specOf(["true"]), { stdio: stdio(), kept: [] });
    const { fds } = await init.receive();
    expect(fds).toHaveLength(4);
    for (const fd of fds) closeFd(fd);
    init.send(encodeMessage({ type: TYPE.spawned, token: 5n }));
    init.send(encodeMessage({ type: TYPE.exited, token: 5n }));
    await spawned.then(() => order.push("spawned"));
    await exited;
    expect(order).toEqual(["spawned", "exit 5 0"]);
    client.close();
    init.close();
  });
});
