import { setImmediate } from "node:timers/promises";
import type { ForwardCall } from "@zone/proto";
import { describe, expect, it } from "vitest";
import { NETWORK_LIMITS } from "../limits.js";
import { ForwardClient } from "../testing/forward-client.js";
import { tcp, useForwarding } from "../testing/forwarding.js";
import { failureOf } from "../testing/own-network.js";

const lab = useForwarding();
const { services } = lab;

/** Settles when the agent has no more than so many descriptors. */
async function descriptorsBack(count: number): Promise<void> {
  while (lab.agent.descriptors("agent") > count) await setImmediate();
}

describe("descriptors", () => {
  it.each<[string, (call: ForwardCall) => void]>([
    ["cancels", (call) => call.cancel()],
    ["ends its messages without an eof", (call) => call.end()],
  ])("are closed when the client %s, and the service's connection is reset", async (_, leave) => {
    let tell: (what: string) => void = () => {};
    let heard: () => void = () => {};
    // A reset that comes together with data reads as an end in Node.
    const data = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const found = new Promise<string>((resolve) => {
      tell = resolve;
    });
    const port = await services.add((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => tell(error.code ?? ""));
      socket.on("end", () => tell("end"));
      socket.on("data", () => heard());
    });
    const before = lab.agent.descriptors("agent");
    const client = await ForwardClient.open(lab.agent, tcp(port));
    await client.send("half of it");
    await data;
    leave(client.call);
    await expect(found).resolves.toBe("ECONNRESET");
    await expect(failureOf(client.ended)).resolves.toMatchObject({ code: "CANCELLED" });
    await descriptorsBack(before);
  });

  it("are closed when the client cancels while the connection is being made", async () => {
    const before = lab.agent.descriptors("agent");
    const call = lab.agent.network.forward();
    call.on("error", () => {});
    call.write({ open: { tcp: { address: "198.51.100.1", port: 9 } } });
    await lab.agent.network.getSysctl({ name: "kernel.ostype" }); // the call before it has been taken
    call.cancel();
    await descriptorsBack(before);
  });

  it("do not leak over thousands of connections, and no more than the limit are open at once", async () => {
    const port = await services.add((socket) => socket.pipe(socket));
    const before = lab.agent.descriptors("agent");
    const echo = async (text: string) => {
      const client = await ForwardClient.open(lab.agent, tcp(port));
      await client.send(text);
      client.sendEof();
      await client.ended;
      expect(client.received.toString()).toBe(text);
    };
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => echo(`${round} ${index}`)));
    }
    await descriptorsBack(before);

    const open: ForwardClient[] = [];
    while (open.length < NETWORK_LIMITS.connections) {
      open.push(...(await Promise.all(Array.from({ length: 64 }, () => ForwardClient.open(lab.agent, tcp(port))))));
    }
    const error = await failureOf(ForwardClient.open(lab.agent, tcp(port)));
    expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_CONNECTIONS" });
    // Thousands of cancelled calls at once would be taken for an attack by nghttp2.
    for (const client of open) client.call.end();
    await descriptorsBack(before);
    await echo("room again");
  }, 120_000);
});
