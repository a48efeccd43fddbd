import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ForwardClient } from "../testing/forward-client.js";
import { tcp, useForwarding } from "../testing/forwarding.js";
import { failureOf, OwnNetwork } from "../testing/own-network.js";
import { Services } from "../testing/services.js";

const lab = useForwarding();
const { services } = lab;

describe("what goes wrong is told", () => {
  it("a refused connection", async () => {
    const open = ForwardClient.open(lab.agent, tcp(await Services.unusedPort()));
    await expect(failureOf(open)).resolves.toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_REFUSED" });
  });

  it("a Unix socket that is not there, or that is none", async () => {
    const file = join(lab.work, "file");
    writeFileSync(file, "");
    for (const path of [join(lab.work, "missing.sock"), file, `${file}/below`]) {
      const error = await failureOf(ForwardClient.open(lab.agent, { unix: { path } }));
      expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_REFUSED" });
      expect(error.message).toContain(path);
    }
  });

  it("a connection that is reset", async () => {
    const port = await services.add((socket) => socket.once("data", () => socket.resetAndDestroy()));
    const client = await ForwardClient.open(lab.agent, tcp(port));
    await client.send("go away");
    await expect(failureOf(client.ended)).resolves.toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_RESET" });
    expect(client.sawEof).toBe(false);
  });

  it("a container that is not there", async () => {
    const open = ForwardClient.open(lab.agent, { unix: { containerId: "nobody", path: "/run/x.sock" } });
    await expect(failureOf(open)).resolves.toMatchObject({ code: "NOT_FOUND", reason: "CONTAINER_UNKNOWN" });
  });

  it.each([
    ["INVALID_ADDRESS", {}],
    ["INVALID_ADDRESS", { tcp: { port: 0 } }],
    ["INVALID_ADDRESS", { tcp: { port: 65536 } }],
    ["INVALID_ADDRESS", { tcp: { address: "localhost", port: 80 } }],
    ["INVALID_ADDRESS", { tcp: { address: "0.0.0.0", port: 80 } }],
    ["INVALID_ADDRESS", { unix: { path: "relative" } }],
    ["INVALID_ADDRESS", { unix: { path: `/${"x".repeat(5000)}` } }],
    ["INVALID_TIME", { tcp: { port: 80 }, connectTimeoutMs: 120_001 }],
  ])("%s: %j", async (reason, open) => {
    const error = await failureOf(ForwardClient.open(lab.agent, open));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", reason });
  });

  it("a first message that is not `open`, and a second one that is", async () => {
    const first = lab.agent.network.forward();
    const failed = new Promise((_, reject) => first.on("error", reject));
    first.write({ data: Buffer.from("x") });
    await expect(failureOf(failed)).resolves.toMatchObject({ code: "INVALID_ARGUMENT", reason: "OPEN_EXPECTED" });

    const none = lab.agent.network.forward();
    const ended = new Promise((_, reject) => none.on("error", reject));
    none.end();
    await expect(failureOf(ended)).resolves.toMatchObject({ code: "INVALID_ARGUMENT", reason: "OPEN_EXPECTED" });

    const port = await services.add((socket) => socket.resume());
    const client = await ForwardClient.open(lab.agent, tcp(port));
    client.call.write({ open: tcp(port) });
    await expect(failureOf(client.ended)).resolves.toMatchObject({ reason: "OPEN_EXPECTED" });
  });

  it("data after the eof, and too much of it in a message", async () => {
    const port = await services.add((socket) => socket.resume());
    const late = await ForwardClient.open(lab.agent, tcp(port));
    late.call.write({ eof: {} });
    late.call.write({ data: Buffer.from("late") });
    await expect(failureOf(late.ended)).resolves.toMatchObject({ reason: "OPEN_EXPECTED" });
    const large = await ForwardClient.open(lab.agent, tcp(port));
    large.call.write({ data: Buffer.alloc(256 * 1024 + 1) });
    await expect(failureOf(large.ended)).resolves.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_SIZE" });
  });

  it("a service that does not answer in time, and an address that nothing leads to", async () => {
    const net = await OwnNetwork.start();
    net.addPair("eth0", "far");
    await net.agent.network.configure({ links: [{ name: "eth0", addresses: ["10.7.0.2/24"] }] });
    const open = (address: string) =>
      failureOf(ForwardClient.open(net.agent, { tcp: { address, port: 9 }, connectTimeoutMs: 100 }));
    expect(await open("10.7.0.9")).toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_TIMED_OUT" });
    expect(await open("192.0.2.1")).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NETWORK_UNREACHABLE" });
    await net.agent.stop();
  });
});
