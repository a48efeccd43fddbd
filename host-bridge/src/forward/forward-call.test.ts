import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { clientOver } from "@zone/link";
import {
  agent,
  createClient,
  type Handlers,
  ProcessService,
  type ServiceClient,
  SystemService,
  ZoneError,
  type zone,
} from "@zone/proto";
import { afterEach, describe, expect, it } from "vitest";
import { agentServices } from "./agent-services.js";
import { forwardCall, type RawCall } from "./forward-call.js";

type AttachResponse = zone.agent.v1.AttachResponse.$Properties;

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Serves on one end of a socket, and gives a client of the other end. */
function serve(addServices: (server: grpc.Server) => void): { client: grpc.Client; cut: () => void } {
  const server = new grpc.Server({ "grpc.max_send_message_length": -1 });
  addServices(server);
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const directory = mkdtempSync(join(tmpdir(), "zone-forward-"));
  const listener = createServer((socket) => injector.injectConnection(socket)).listen(join(directory, "s"));
  const near = connect(join(directory, "s"));
  const client = clientOver(near);
  const cut = () => near.destroy();
  closing.push(() => {
    client.close();
    server.forceShutdown();
    listener.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { client, cut };
}

const unimplemented = () => {
  throw new Error("not expected");
};

interface Bridge {
  process: ServiceClient<typeof ProcessService>;
  system: ServiceClient<typeof SystemService>;
  /** Cuts the link between the bridge and the agent. */
  cut: () => void;
  client: grpc.Client;
}

/** An agent with these methods behind a bridge that forwards to it. */
function bridgeTo(
  methods: Partial<Handlers<typeof ProcessService>>,
  system: Partial<Handlers<typeof SystemService>> = {},
): Bridge {
  const none = (service: object) => Object.fromEntries(Object.keys(service).map((name) => [name, unimplemented]));
  const upstream = serve((server) => {
    server.addService(ProcessService, { ...none(ProcessService), ...methods });
    server.addService(SystemService, { ...none(SystemService), ...system });
  });
  const onLinkLost = async (error: ZoneError) =>
    new ZoneError({
      code: "FAILED_PRECONDITION",
      reason: "ZONE_NOT_RUNNING",
      domain: "zone.bridge",
      message: error.message,
    });
  const handler = (call: RawCall) => forwardCall(call, { client: upstream.client, onLinkLost });
  const { client } = serve((server) => {
    for (const service of agentServices) {
      server.addService(service, Object.fromEntries(Object.keys(service).map((name) => [name, handler])));
    }
  });
  return {
    process: createClient(ProcessService, client),
    system: createClient(SystemService, client),
    cut: upstream.cut,
    client,
  };
}

describe("forwarding", () => {
  it("covers every service of zone.agent.v1", () => {
    const paths = agentServices.flatMap((service) => Object.values(service).map(({ path }) => path));
    expect(paths).toContain("/zone.agent.v1.Process/Attach");
    expect(paths).toContain("/zone.agent.v1.Container/Create");
    expect(paths).toContain("/zone.agent.v1.System/Renew");
    expect(paths.every((path) => path.startsWith("/zone.agent.v1."))).toBe(true);
  });

  it("passes unary calls, metadata and trailers on, both ways", async () => {
    let got: grpc.Metadata | undefined;
    let onHead = () => {};
    const headSeen = new Promise<void>((resolve) => {
      onHead = resolve;
    });
    const { client } = bridgeTo({
      get: (call, callback) => {
        got = call.metadata;
        const answer = new grpc.Metadata();
        answer.set("x-answer", "head");
        answer.set("date", "a header that HTTP/2 wants once");
        call.sendMetadata(answer);
        const trailer = new grpc.Metadata();
        trailer.set("x-trailer", "tail");
        headSeen.then(() => callback(null, { process: { id: call.request.id } }, trailer));
      },
    });
    const metadata = new grpc.Metadata();
    metadata.set("x-trace", "7");
    metadata.set("zone-id", "web");
    metadata.set("authorization", "secret");
    const { get } = ProcessService;
    const answer = await new Promise<{ id: string; head?: grpc.Metadata; tail?: grpc.Metadata }>((resolve, reject) => {
      let head: grpc.Metadata | undefined;
      let id = "";
      const call = client.makeUnaryRequest(
        get.path,
        get.requestSerialize,
        get.responseDeserialize,
        { id: "main" },
        metadata,
        (error, value) => {
          if (error) reject(error);
          id = value?.process?.id ?? "";
        },
      );
      call.on("metadata", (received) => {
        head = received;
        onHead();
      });
      call.on("status", ({ metadata: tail }) => resolve({ id, ...(head && { head }), tail }));
    });
    expect(answer.id).toBe("main");
    expect(answer.head?.get("x-answer")).toEqual(["head"]);
    expect(answer.tail?.get("x-trailer")).toEqual(["tail"]);
    expect(got?.get("x-trace")).toEqual(["7"]);
    expect(got?.get("authorization")).toEqual([]);
    expect(got?.get("zone-id")).toEqual([]);
  });

  it("passes errors on with their details", async () => {
    const error = new ZoneError({
      code: "NOT_FOUND",
      reason: "PROCESS_UNKNOWN",
      domain: "zone.agent",
      message: "no process ü",
      resource: { type: "process", name: "x" },
      metadata: { more: "1" },
    });
    const { process } = bridgeTo({ wait: (_, callback) => callback(error.toStatus()) });
    await expect(process.wait({ id: "x" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      reason: "PROCESS_UNKNOWN",
      domain: "zone.agent",
      message: "no process ü",
      resource: { type: "process", name: "x" },
      metadata: { more: "1" },
    });
  });

  it("passes the deadline on", async () => {
    let deadline = 0;
    const cancelled = new Promise<void>((resolve) => {
      const bridge = bridgeTo({
        wait: (call) => {
          deadline = Number(call.getDeadline());
          call.on("cancelled", () => resolve());
        },
      });
      bridge.process
        .wait({ id: "main" }, { timeoutMs: 200 })
        .catch((error) => expect(error.code).toBe("DEADLINE_EXCEEDED"));
    });
    await cancelled;
    expect(deadline - Date.now()).toBeLessThan(1000);
  });

  it("passes cancellation on, of each kind of call", async () => {
    const seen: string[] = [];
    let started = () => {};
    const bridge = bridgeTo(
      {
        wait: (call) => {
          call.on("cancelled", () => seen.push("unary"));
          started();
        },
        attach: (call) => {
          call.on("cancelled", () => seen.push("bidi"));
          call.write({ opened: {} });
        },
      },
      {
        events: (call) => {
          call.on("cancelled", () => seen.push("serverStream"));
          call.write({ subscribed: {} });
        },
      },
    );
    const abort = new AbortController();
    const begun = new Promise<void>((resolve) => {
      started = resolve;
    });
    const unary = bridge.process.wait({ id: "main" }, { signal: abort.signal });
    const events = bridge.system.events({}, { signal: abort.signal });
    const attach = bridge.process.attach({ signal: abort.signal });
    const failed = expect(unary).rejects.toMatchObject({ code: "CANCELLED" });
    for (const stream of [events, attach]) stream.on("error", () => {});
    await Promise.all([begun, once(events, "data"), once(attach, "data")]);
    abort.abort();
    await failed;
    await expect.poll(() => seen.sort()).toEqual(["bidi", "serverStream", "unary"]);
  });

  it("carries messages both ways, and the half-close", async () => {
    const bridge = bridgeTo({
      attach: (call) => {
        call.on("data", ({ stdin }) =>
          call.write({ output: { offset: stdin?.offset ?? 0, data: stdin?.data ?? Buffer.alloc(0) } }),
        );
        call.on("end", () => call.end());
      },
    });
    const call = bridge.process.attach();
    const got: AttachResponse[] = [];
    call.on("data", (message) => got.push(message));
    for (let n = 0; n < 200; n++) call.write({ stdin: { offset: n, data: Buffer.alloc(1000, n) } });
    call.end();
    await once(call, "end");
    expect(got.map((message) => Number(message.output?.offset))).toEqual(Array.from({ length: 200 }, (_, n) => n));
    expect(Buffer.from(got[199]?.output?.data ?? [])).toEqual(Buffer.alloc(1000, 199));
  });

  it("gives a slow client everything before the status, and keeps little of it in memory", async () => {
    const total = 100 * 1024 * 1024;
    const chunk = Buffer.alloc(256 * 1024, 1);
    let written = 0;
    const bridge = bridgeTo({
      attach: async (call) => {
        while (written < total) {
          written += chunk.length;
          if (!call.write({ output: { stream: agent.OutputStream.OUTPUT_STREAM_STDOUT, data: chunk } }))
            await once(call, "drain");
        }
        call.emit(
          "error",
          Object.assign(new Error(), new ZoneError({ code: "ABORTED", reason: "DONE", message: "done" }).toStatus()),
        );
      },
    });
    const call = bridge.process.attach();
    let read = 0;
    let most = 0;
    const error = await (async () => {
      try {
        for await (const { output } of call) {
          read += output?.data.length ?? 0;
          most = Math.max(most, written - read);
        }
        return undefined;
      } catch (thrown) {
        return ZoneError.from(thrown);
      }
    })();
    expect(error).toMatchObject({ code: "ABORTED", reason: "DONE" });
    expect(read).toBe(total);
    // Three hops' windows, and 16 messages in each of the streams' buffers.
    expect(most).toBeLessThan(32 * 1024 * 1024);
  }, 60_000);

  it("says what has become of the zone when the link is cut in the middle of calls", async () => {
    const bridge = bridgeTo({ attach: (call) => void call.write({ opened: {} }), wait: () => {} });
    const attach = bridge.process.attach();
    const waiting = expect(bridge.process.wait({ id: "main" })).rejects.toMatchObject({ reason: "ZONE_NOT_RUNNING" });
    await once(attach, "data");
    const failed = new Promise((resolve) => attach.once("error", resolve));
    bridge.cut();
    expect(ZoneError.from(await failed)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ZONE_NOT_RUNNING" });
    await waiting;
  });

  it("refuses a message of more than 4 MiB from a zone, and goes on", async () => {
    const bridge = bridgeTo({
      get: (_, callback) => callback(null, { process: { user: "x".repeat(5 * 1024 * 1024) } }),
      list: (_, callback) => callback(null, {}),
    });
    await expect(bridge.process.get({ id: "main" })).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await bridge.process.list({});
  });
});
