/**
 * Measures gRPC over a link against the raw socket, in this run, over a Unix socket between two processes:
 * `node link/dist/testing/throughput.js [MIB]`. Prints MiB/s.
 */
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { serveLinks } from "../serve.js";
import { openSession } from "../session.js";
import { echoClient, echoServer } from "./echo-service.js";

const SIZES = [32 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024];
const IDENTITY = { zoneId: "", bootId: "", agentVersion: "" };

/** The other process: a raw source, an agent on a many-stream link, and one on a one-stream link without a VM. */
async function serve(folder: string): Promise<void> {
  net
    .createServer((socket) => {
      const chunk = Buffer.alloc(64 * 1024);
      const write = () => {
        while (!socket.destroyed && socket.write(chunk));
      };
      socket.on("drain", write).on("error", () => {});
      write();
    })
    .listen(join(folder, "raw"));
  const { server } = echoServer();
  const port = new Promise<net.Socket>((resolve) => net.createServer(resolve).listen(join(folder, "serial")));
  const addresses = [
    { kind: "unix", path: join(folder, "unix") },
    { kind: "serial", port: "port" },
  ] as const;
  await serveLinks(server, addresses, () => IDENTITY, { openPort: () => port }).ready;
  process.send?.("ready");
}

async function rate(bytes: number, transfer: () => Promise<unknown>): Promise<string> {
  const start = performance.now();
  await transfer();
  return (bytes / 1024 / 1.024 / (performance.now() - start)).toFixed(0).padStart(6);
}

function raw(path: string, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let received = 0;
    const socket = net.connect(path);
    socket.on("data", (chunk) => {
      received += chunk.length;
      if (received < bytes) return;
      socket.destroy();
      resolve();
    });
  });
}

async function measure(folder: string, mib: number): Promise<void> {
  const total = mib * 1024 * 1024;
  console.log(`raw socket ${await rate(total, () => raw(join(folder, "raw"), total))} MiB/s`);
  for (const kind of ["unix", "serial"]) {
    const session = await openSession(`${kind}:${join(folder, kind)}`, { zoneId: "", timeoutMs: 60_000 });
    const echo = echoClient(session.client);
    for (const size of SIZES) {
      const count = Math.floor(total / size);
      const down = await rate(total, () => {
        const call = echo.down(`${count} ${size}`);
        call.resume();
        return new Promise((resolve) => call.once("end", resolve));
      });
      const up = await rate(total, () => upload(echo, count, size));
      console.log(`${kind.padEnd(6)} ${String(size / 1024).padStart(5)} KiB messages: down ${down}, up ${up} MiB/s`);
    }
    const calls = 1000;
    const start = performance.now();
    for (let n = 0; n < calls; n++) await echo.unary("x");
    console.log(`${kind.padEnd(6)} unary: ${((1000 * (performance.now() - start)) / calls).toFixed(0)} us`);
    await session.close();
  }
}

function upload(echo: ReturnType<typeof echoClient>, count: number, size: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = echo.up((error) => (error ? reject(error) : resolve()));
    const message = Buffer.alloc(size);
    let sent = 0;
    const write = () => {
      while (sent++ < count) if (!call.write(message)) return void call.once("drain", write);
      call.end();
    };
    write();
  });
}

const [command, folder] = process.argv.slice(2);
if (command === "serve" && folder !== undefined) {
  await serve(folder);
} else {
  const temporary = mkdtempSync(join(tmpdir(), "zone-link-"));
  const child = fork(fileURLToPath(import.meta.url), ["serve", temporary]);
  try {
    await new Promise((resolve) => child.once("message", resolve));
    await measure(temporary, Number(command ?? 256));
  } finally {
    child.kill();
    rmSync(temporary, { recursive: true });
  }
}
