import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CliFixture, eventually } from "../testing/zonectl.js";

let cli: CliFixture;
let echo: Server;
beforeAll(async () => {
  cli = await CliFixture.make();
  await cli.run(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
  // Answers when its client has said all: a half-close must come through.
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    buffer(socket).then(
      (all) => socket.end(all),
      () => {}, // it was reset
    );
  });
  await once(echo.listen(0, "127.0.0.1"), "listening");
}, 60_000);
afterAll(async () => {
  echo.close();
  await cli.close();
});

/** All that a socket says. Not by iterating, which would destroy it before it has answered. */
async function buffer(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks);
}

/** Starts a forward, and settles with it and the line that it prints. */
async function forwarding(mapping: string) {
  const { child, result } = cli.start(["port-forward", "web", mapping]);
  let text = "";
  child.stdout.on("data", (data) => {
    text += data;
  });
  await eventually(() => text.includes("\n"));
  const end = () => {
    child.kill("SIGINT");
    return result;
  };
  return { line: text.trim(), end };
}

const port = () => (echo.address() as AddressInfo).port;

it("carries bytes both ways, with half-close, and ends with SIGINT", { timeout: 60_000 }, async () => {
  const { line, end } = await forwarding(`:${port()}`);
  const local = Number(/^\d+\/tcp -> 127\.0\.0\.1:(\d+)$/.exec(line)?.[1]);
  const sent = Buffer.alloc(3_000_000, "zone");
  const socket = connect({ port: local, host: "127.0.0.1", allowHalfOpen: true });
  socket.end(sent);
  expect((await buffer(socket)).equals(sent)).toBe(true);
  expect(await end()).toMatchObject({ code: 0, stderr: "" });
});

it("listens on a Unix socket", { timeout: 60_000 }, async () => {
  const path = join(cli.folder, "local.sock");
  const { line, end } = await forwarding(`${path}:${port()}`);
  expect(line).toBe(`${port()}/tcp -> ${path}`);
  const socket = connect({ path, allowHalfOpen: true });
  socket.end("over a socket");
  expect((await buffer(socket)).toString()).toBe("over a socket");
  await end();
});

it("tells what is refused, and goes on", { timeout: 60_000 }, async () => {
  const { line, end } = await forwarding(":1");
  const local = Number(/:(\d+)$/.exec(line)?.[1]);
  const socket = connect(local, "127.0.0.1");
  const [error] = await once(socket, "error");
  expect(error.code).toBe("ECONNRESET");
  expect(await end()).toMatchObject({ code: 0, stderr: expect.stringMatching(/^zonectl: refused.*\n$/) });
});

it("gives up the call of a client that has gone before the zone's side was there", { timeout: 60_000 }, async () => {
  const { calls, gates } = cli.bridge;
  calls.length = 0;
  let open = () => {};
  gates.forward = new Promise((resolve) => {
    open = resolve;
  });
  const { line, end } = await forwarding(`:${port()}`);
  const socket = connect(Number(/:(\d+)$/.exec(line)?.[1]), "127.0.0.1");
  await eventually(() => calls.includes("forward"));
  socket.resetAndDestroy();
  await once(socket, "close");
  await new Promise((resolve) => setTimeout(resolve, 200)); // zonectl learns of it
  open();
  await eventually(() => calls.includes("forward ended"));
  expect(await end()).toMatchObject({ code: 0, stderr: "" });
});

it("refuses what cannot be listened on, and an unknown zone", { timeout: 60_000 }, async () => {
  expect(await cli.run(["port-forward", "web", `${port()}:80`])).toMatchObject({
    code: 125,
    stderr: expect.stringMatching(/^zonectl: cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE.*\n$/),
  });
  expect((await cli.run(["port-forward", "none", ":80"])).stderr).toMatch(/^zonectl: no zone 'none'/);
  expect((await cli.run(["port-forward", "--address", "host", "web", ":80"])).code).toBe(125);
});
