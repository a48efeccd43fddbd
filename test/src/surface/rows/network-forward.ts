import { type zone as messages, openForward, ZoneError } from "@zone/proto";
import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { ETH, restoring } from "../network-case.js";
import { type Row, refused, type SurfaceZone, works } from "../row.js";

type Open = messages.agent.v1.ForwardOpen.$Properties;
type Message = messages.agent.v1.ForwardRequest.$Properties;

const PORT = 7007;
/** The zone's own; there is no shell, but node. */
const SERVER = `
const net = require("node:net");
const pid = process.argv[1];
const serve = (socket) => socket.on("error", () => {}).on("data", (data) => {
  if (String(data) === "reset") return socket.resetAndDestroy();
  socket.write(data);
}).on("end", () => socket.end("over"));
const where = [{ port: ${PORT}, host: "127.0.0.1" }, { path: "/run/case.sock" }, { path: "/proc/" + pid + "/root/tmp/case.sock" }];
let listening = 0;
for (const each of where) net.createServer({ allowHalfOpen: true }, serve).listen(each, () => {
  if (++listening === where.length) console.log("listening");
});
process.on("SIGTERM", () => {
  for (const { path } of where) if (path) require("node:fs").rmSync(path);
  process.exit(0);
});`;

/** A zone process that sends back what it gets, on a TCP port and two Unix sockets, and says "over" at the end. */
async function withServer(zone: SurfaceZone, use: () => Promise<void>): Promise<void> {
  const id = "server";
  const { process } = await zone.bridge.process_.get({ id: "main" }, zone.in());
  const spec = { id, argv: argv("/bin/node", "-e", SERVER, String(process?.pid)) };
  const call = zone.bridge.process_.attach(zone.in());
  const ended = new Promise<void>((resolve, reject) => {
    call.on("end", resolve).on("error", reject);
  });
  await new Promise<void>((resolve, reject) => {
    call.on("error", reject).on("end", () => reject(new Error("the server has ended")));
    call.on("data", ({ output }) => output && resolve());
    call.write({ open: { spec } });
  });
  try {
    await use();
  } finally {
    await zone.bridge.process_.signal({ id, signal: 15 }, zone.in());
    await ended;
    await zone.bridge.process_.delete({ id }, zone.in());
  }
}

/** Sends the messages, the first of which is an `open`, and settles with the bytes that come back, when the call has ended. */
function forward(zone: SurfaceZone, sent: readonly Message[]): Promise<{ kinds: string[]; bytes: string }> {
  const call = zone.bridge.network.forward(zone.in());
  return new Promise((resolve, reject) => {
    const got: { kinds: string[]; bytes: string } = { kinds: [], bytes: "" };
    call.on("data", ({ kind = "", data }) => {
      if (got.kinds.at(-1) !== kind) got.kinds.push(kind);
      if (data) got.bytes += Buffer.from(data).toString();
    });
    call.on("end", () => resolve(got));
    call.on("error", (error) => reject(ZoneError.from(error)));
    for (const message of sent) call.write(message);
    if (sent.length === 0) call.end();
  });
}

const echo = (open: Open): Message[] => [{ open }, { data: Buffer.from("hello ") }, { eof: {} }];

const notForwarded = (fields: readonly string[], reason: string, name: string, sent: readonly Message[]): Row =>
  refused("Network.Forward", fields, reason, name, (zone) => forward(zone, sent));

const notOpened = (field: string, reason: string, name: string, open: Open): Row =>
  refused("Network.Forward", [field], reason, name, (zone) =>
    openForward(zone.bridge.network.forward(zone.in()), open),
  );

export const forwardRows: Row[] = [
  works(
    "Network.Forward",
    [
      ...["ForwardRequest.open", "ForwardRequest.data", "ForwardRequest.eof", "ForwardOpen.tcp", "ForwardOpen.unix"],
      ...["ForwardOpen.connect_timeout_ms", "TcpTarget.address", "TcpTarget.port"],
      ...["UnixTarget.container_id", "UnixTarget.path"],
    ],
    "carries both directions to their ends, by TCP and to Unix sockets; a reset is told",
    (zone) =>
      withServer(zone, async () => {
        const targets: Open[] = [
          { tcp: { port: PORT } },
          { tcp: { address: "127.0.0.1", port: PORT }, connectTimeoutMs: 120_000 },
          { unix: { path: "/run/case.sock" } },
          { unix: { containerId: "main", path: "/tmp/case.sock" } },
        ];
        for (const target of targets) {
          const { kinds, bytes } = await forward(zone, echo(target));
          expect({ bytes, kinds }).toEqual({ bytes: "hello over", kinds: ["opened", "data", "eof"] });
        }
        const reset = forward(zone, [{ open: { tcp: { port: PORT } } }, { data: Buffer.from("reset") }]);
        await expect(reset).rejects.toMatchObject({ reason: "CONNECTION_RESET" });
        const late = [...echo({ tcp: { port: PORT } }), { data: Buffer.from("late") }];
        await expect(forward(zone, late)).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
        const large = [{ open: { tcp: { port: PORT } } }, { data: Buffer.alloc((256 << 10) + 1) }];
        await expect(forward(zone, large)).rejects.toMatchObject({ reason: "INVALID_SIZE" });
      }),
  ),
  notForwarded(["ForwardRequest.open"], "OPEN_EXPECTED", "a call that ends without `open`", []),
  notForwarded(["ForwardRequest.data"], "OPEN_EXPECTED", "data before `open`", [{ data: Buffer.from("x") }]),
  notForwarded(["ForwardRequest.eof"], "OPEN_EXPECTED", "an end before `open`", [{ eof: {} }]),
  notOpened("ForwardRequest.open", "INVALID_ADDRESS", "no target", {}),
  notOpened("ForwardOpen.tcp", "CONNECTION_REFUSED", "a port that nobody listens on", { tcp: { port: 1 } }),
  notOpened("TcpTarget.port", "INVALID_ADDRESS", "port 0", { tcp: {} }),
  notOpened("TcpTarget.port", "INVALID_ADDRESS", "port 65,536", { tcp: { port: 65_536 } }),
  notOpened("TcpTarget.address", "INVALID_ADDRESS", "a name", { tcp: { address: "localhost", port: 1 } }),
  refused("Network.Forward", ["TcpTarget.address"], "NETWORK_UNREACHABLE", "an address without a route", (zone) =>
    restoring(zone, async () => {
      await zone.bridge.network.updateLink({ name: ETH, up: false }, zone.in());
      await openForward(zone.bridge.network.forward(zone.in()), { tcp: { address: "192.0.2.1", port: 1 } });
    }),
  ),
  notOpened("ForwardOpen.connect_timeout_ms", "INVALID_TIME", "a wait of more than two minutes", {
    ...{ tcp: { port: 1 }, connectTimeoutMs: 120_001 },
  }),
  notOpened("ForwardOpen.connect_timeout_ms", "CONNECTION_TIMED_OUT", "who does not answer in time", {
    ...{ tcp: { address: "198.51.100.1", port: 9 }, connectTimeoutMs: 1 },
  }),
  notOpened("ForwardOpen.unix", "CONNECTION_REFUSED", "a file that is no socket", {
    unix: { containerId: "main", path: "/etc/passwd" },
  }),
  notOpened("UnixTarget.path", "INVALID_ADDRESS", "a relative path", { unix: { path: "run/case.sock" } }),
  notOpened("UnixTarget.path", "CONNECTION_REFUSED", "a path that is not there", { unix: { path: "/run/none.sock" } }),
  notOpened("UnixTarget.container_id", "CONTAINER_UNKNOWN", "a container that is not there", {
    unix: { containerId: "none", path: "/tmp/case.sock" },
  }),
];
