import type { Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ForwardClient } from "../testing/forward-client.js";
import { tcp, useForwarding } from "../testing/forwarding.js";

const lab = useForwarding();
const { services } = lab;

describe("a connection", () => {
  it("carries bytes both ways, each to its own end", async () => {
    const port = await services.add((socket) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.on("end", () => {
        socket.write(`got ${Buffer.concat(chunks)}, `);
        socket.end("bye");
      });
    });
    const client = await ForwardClient.open(lab.agent, tcp(port));
    await client.send("hello ");
    await client.send("there");
    expect(client.receivedBytes).toBe(0);
    client.sendEof();
    await client.ended;
    expect(client.received.toString()).toBe("got hello there, bye");
    expect(client.sawEof).toBe(true);
  });

  it("goes on towards the service when the service has ended its own direction", async () => {
    let got = "";
    let taken: () => void = () => {};
    const all = new Promise<void>((resolve) => {
      taken = resolve;
    });
    const port = await services.add((socket) => {
      socket.end("first and last");
      socket.on("data", (chunk) => {
        got += chunk;
      });
      socket.on("end", taken);
    });
    const client = await ForwardClient.open(lab.agent, tcp(port));
    await client.until(() => client.sawEof);
    await client.send("still ");
    await client.send("heard");
    client.sendEof();
    await all;
    await client.ended;
    expect(got).toBe("still heard");
    expect(client.received.toString()).toBe("first and last");
  });

  it("finds a service on ::1 when 127.0.0.1 has none", async () => {
    const port = await services.add((socket) => socket.end("six"), { host: "::1", port: 0, ipv6Only: true });
    const client = await ForwardClient.open(lab.agent, tcp(port));
    client.sendEof();
    await client.ended;
    expect(client.received.toString()).toBe("six");
  });

  it("reaches a Unix socket", async () => {
    const path = join(lab.work, "echo.sock");
    await services.add((socket) => socket.pipe(socket), { path });
    const client = await ForwardClient.open(lab.agent, { unix: { path } });
    await client.send("over a file");
    client.sendEof();
    await client.ended;
    expect(client.received.toString()).toBe("over a file");
  });

  it("passes on what a service has said before it closed, though more is being sent to it", async () => {
    const path = join(lab.work, "rude.sock");
    await services.add(
      (socket) => {
        // It answers, reads nothing, and goes.
        socket.pause();
        socket.write("413 too large", () => socket.destroy());
      },
      { path },
    );
    for (let round = 0; round < 20; round++) {
      const client = await ForwardClient.open(lab.agent, { unix: { path } });
      client.call.on("error", () => {});
      for (let i = 0; i < 4; i++) client.call.write({ data: Buffer.alloc(64 * 1024) });
      client.sendEof();
      await client.ended.catch(() => {});
      expect(client.received.toString()).toBe("413 too large");
    }
  });
});

describe("back-pressure", () => {
  it("stops the service when the client does not read, and loses nothing", async () => {
    const total = 64 * 1024 * 1024;
    let written = 0;
    const port = await services.add((socket) => {
      const chunk = Buffer.alloc(256 * 1024, "x");
      const more = () => {
        while (written < total) {
          written += chunk.length;
          if (!socket.write(chunk)) return void socket.once("drain", more);
        }
        socket.end();
      };
      more();
    });
    const client = await ForwardClient.open(lab.agent, tcp(port));
    await client.until(() => client.receivedBytes > 0);
    client.call.pause();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300)); // nothing tells that nothing more happens
    }
    expect(written).toBeLessThan(24 * 1024 * 1024);
    client.call.resume();
    client.sendEof();
    await client.ended;
    expect(client.receivedBytes).toBe(total);
  });

  it("stops the client when the service does not read", async () => {
    let service: Socket | undefined;
    const port = await services.add((socket) => {
      service = socket.pause();
    });
    const client = await ForwardClient.open(lab.agent, tcp(port));
    let sent = 0;
    let full = false;
    while (!full) {
      const sending = client.send(Buffer.alloc(256 * 1024)).then(() => false);
      // A full call is one that does not drain while nothing else happens.
      full = await Promise.race([sending, new Promise<boolean>((resolve) => setTimeout(resolve, 2000, true))]);
      sent += 256 * 1024;
      expect(sent).toBeLessThan(64 * 1024 * 1024);
    }
    let got = 0;
    const all = new Promise<void>((resolve) => service?.on("end", () => resolve()));
    service?.on("data", (chunk) => {
      got += chunk.length;
    });
    service?.resume();
    client.sendEof();
    await all;
    expect(got).toBe(sent);
    service?.end();
    await client.ended;
  });
});
