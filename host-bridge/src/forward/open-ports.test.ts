import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { NetworkService, unimplemented, type zone } from "@zone/proto";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { PortMapping } from "../zones/network-spec.js";
import { portOpener } from "./open-ports.js";

type Call = grpc.ServerDuplexStream<zone.agent.v1.ForwardRequest, zone.agent.v1.ForwardResponse.$Properties>;

const directory = mkdtempSync(join(tmpdir(), "zone-open-"));
const agent = new grpc.Server();
let client: grpc.Client;
/** What the agent was asked to connect to. */
let asked: unknown[] = [];

beforeAll(async () => {
  const forward = (call: Call) => {
    call.once("data", ({ open }: zone.agent.v1.ForwardRequest) => {
      asked.push(open?.unix ?? open?.tcp);
      call.emit("error", { code: grpc.status.UNAVAILABLE });
    });
  };
  agent.addService(NetworkService as never, { ...unimplemented(NetworkService), forward } as never);
  const at = `unix:${join(directory, "agent.sock")}`;
  await new Promise<void>((resolve, reject) => {
    agent.bindAsync(at, grpc.ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()));
  });
  client = new grpc.Client(at, grpc.credentials.createInsecure());
});
afterAll(() => {
  client.close();
  agent.forceShutdown();
  rmSync(directory, { recursive: true });
});

/** What one connection to a published port asks the agent for; once, for nothing else is tried. */
async function askedFor(port: PortMapping, address: string | undefined): Promise<unknown> {
  asked = [];
  let known: string | undefined;
  const target = { client: async () => client, address: () => known, containerId: "main" };
  const { ports, close } = await portOpener(pino({ level: "silent" }))([port], target);
  known = address; // it is known when there is a domain, which is later
  const socket = connect(ports[0]?.hostPort ?? 0, "127.0.0.1").resume();
  await once(socket, "error");
  await close();
  expect(asked).toHaveLength(1);
  return asked[0];
}

it("leads to the zone's own address, where its clients are no local ones", async () => {
  expect(await askedFor({ zonePort: 80 }, "10.0.2.15")).toMatchObject({ address: "10.0.2.15", port: 80 });
});

it("leads to the loopback of a zone that has nothing else", async () => {
  expect(await askedFor({ zonePort: 80 }, undefined)).toMatchObject({ address: "", port: 80 });
});

it("leads to a socket of the container, whatever the zone's address", async () => {
  const unix = { containerId: "main", path: "/run/app.sock" };
  expect(await askedFor({ zonePath: "/run/app.sock" }, "10.0.2.15")).toMatchObject(unix);
});
