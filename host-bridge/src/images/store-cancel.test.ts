import { readdirSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { encodeTar, file } from "@zone/tar";
import { describe, expect, it, onTestFinished } from "vitest";
import { writeLayout } from "./testing/images.js";
import { scratch } from "./testing/scratch.js";
import { leftovers, never, openStore, silent } from "./testing/store.js";

describe("cancelling", { timeout: 120_000 }, () => {
  /** A registry that takes connections and says nothing. */
  async function silentRegistry(): Promise<{ address: string; connected: Promise<Socket> }> {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    onTestFinished(() => void server.close());
    const connected = new Promise<Socket>((resolve) => server.once("connection", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return { address: `127.0.0.1:${address.port}`, connected };
  }

  it("ends skopeo and leaves nothing", async () => {
    const directory = scratch();
    const { address, connected } = await silentRegistry();
    const controller = new AbortController();
    const pulled = (await openStore(directory)).pull(`${address}/x`, silent, controller.signal);
    const socket = await connected;
    const closed = new Promise((resolve) => socket.once("close", resolve).on("error", silent).resume());
    controller.abort();
    await expect(pulled).rejects.toMatchObject({ code: "CANCELLED", reason: "CANCELLED" });
    await closed;
    expect(leftovers(directory)).toEqual([]);
  });

  it("gives up a registry that says nothing", async () => {
    const directory = scratch();
    const { address } = await silentRegistry();
    const images = await openStore(directory, { stallMs: 1000 });
    await expect(images.pull(`${address}/x`, silent, never)).rejects.toMatchObject({
      reason: "REGISTRY_UNREACHABLE",
      message: expect.stringMatching(/nothing came for 1 seconds/),
    });
    expect(leftovers(directory)).toEqual([]);
  });

  it("stops while unpacking", async () => {
    const directory = scratch();
    writeLayout(join(directory, "layout"), [encodeTar([file("large", Buffer.alloc(64 * 1024 * 1024, 1))])]);
    const controller = new AbortController();
    const progress = (phase: string) => {
      if (phase === "unpack") controller.abort();
    };
    const pulled = (await openStore(directory)).pull(`oci:${directory}/layout`, progress, controller.signal);
    await expect(pulled).rejects.toMatchObject({ code: "CANCELLED" });
    expect(readdirSync(join(directory, "images"))).toEqual([]);
  });
});
