import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import type { ServiceDefinition } from "@grpc/grpc-js";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestBridge } from "../testing/test-bridge.js";

const NOBODY = 65534;
const require = createRequire(import.meta.url);
/** The reflection package's own. */
const { loadSync } = createRequire(require.resolve("@grpc/reflection"))("@grpc/proto-loader") as {
  loadSync: (path: string, options: object) => Record<string, ServiceDefinition>;
};

let host: TestBridge;
beforeAll(async () => {
  host = await TestBridge.start();
  await chmod(host.directory, 0o711);
});
afterAll(() => host.close());

/** Runs calls as another user: the names and states of zones that it sees, and how a Get of `zone` ends. */
async function asUser(
  uid: number,
  gid: number,
  zone: string,
): Promise<{ zones?: string[]; get?: string; error?: string }> {
  const script = `
    const { Client, credentials } = await import("@grpc/grpc-js");
    const { createClient, ZonesService, ProcessService } = await import("@zone/proto");
    const client = new Client("unix:${host.socket}", credentials.createInsecure());
    const zones = createClient(ZonesService, client);
    try {
      for await (const _ of zones.create({ spec: { image: "sh", name: "of-" + process.getuid() } }));
      const list = await zones.list({ all: true }, { timeoutMs: 20000 });
      const get = await zones.get({ zone: "${zone}" }).then(() => "OK", (error) => error.reason);
      const forwarded = await createClient(ProcessService, client)
        .list({}, { metadata: { "zone-id": "${zone}" } }).then(() => "OK", (error) => error.reason);
      console.log(JSON.stringify({ zones: list.zones.map((each) => each.spec.name), get, forwarded }));
    } catch (error) {
      console.log(JSON.stringify({ error: error.code }));
    }
    process.exit(0);`;
  const args = ["--input-type=module", "-e", script];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    uid,
    gid,
    cwd: new URL("../..", import.meta.url).pathname,
  });
  return JSON.parse(stdout);
}

describe("the socket", () => {
  it("is for its owner and group alone", async () => {
    expect((await stat(host.socket)).mode & 0o777).toBe(0o660);
  });

  it("lets a member use its own zones only", async () => {
    const id = await host.run("sleep 1000", { name: "of-root" });
    expect(await asUser(NOBODY, NOBODY, id)).toEqual({
      zones: [`of-${NOBODY}`],
      get: "NOT_YOUR_ZONE",
      forwarded: "NOT_YOUR_ZONE",
    });
    const { zones } = await host.zones.list({ all: true });
    expect(zones.map((zone) => zone.spec?.name).sort()).toEqual([`of-${NOBODY}`, "of-root"]);
    await host.zones.delete({ zone: id, force: true });
  });

  it("closes on who is no member, even when the socket's mode lets it connect", async () => {
    await chmod(host.socket, 0o666);
    expect(await asUser(12345, 12345, "any")).toEqual({ error: grpc.status.UNAVAILABLE });
    await chmod(host.socket, 0o660);
    expect(await host.log()).toContain("is no member");
  });

  it("lives on when a client talks nonsense", async () => {
    const { connect } = await import("node:net");
    for (const nonsense of [
      "GET / HTTP/1.1\r\n\r\n",
      "\0".repeat(1000),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ]) {
      const socket = connect(host.socket);
      socket.on("error", () => {});
      socket.resume().write(nonsense, "latin1");
      socket.end();
      await once(socket, "close");
    }
    expect((await host.host.version({})).bridgeVersion).toBe("test");
  });
});

describe("a malformed request", () => {
  it("does not end the bridge", async () => {
    const call = (bytes: number[]) =>
      new Promise((resolve) => {
        const same = (message: Buffer) => message;
        const made = host.client.makeServerStreamRequest("/zone.bridge.v1.Zones/Get", same, same, Buffer.from(bytes));
        made
          .on("error", () => {})
          .on("data", () => {})
          .on("status", ({ code }) => resolve(code));
      });
    // Half of a surrogate pair in UTF-8, and a field that is longer than the message.
    expect(await call([0x0a, 0x03, 0xed, 0xa0, 0x80])).toBe(grpc.status.INTERNAL);
    expect(await call([0x0a, 0x7f])).toBe(grpc.status.INTERNAL);
    // Cut where a message is shortened, it would be half a pair.
    const zone = `a${"\u{1f600}".repeat(100)}`;
    await expect(host.zones.get({ zone })).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
    expect((await host.host.version({})).bridgeVersion).toBe("test");
  });
});

describe("stock tools", () => {
  const health = require("grpc-health-check") as { service: ServiceDefinition };

  it("are told of health", async () => {
    const Health = grpc.makeGenericClientConstructor(health.service, "Health");
    const client = new Health(`unix:${host.socket}`, grpc.credentials.createInsecure());
    const check = (service: string) =>
      new Promise((resolve) =>
        client.check?.({ service }, (error: grpc.ServiceError | null, answer: unknown) =>
          resolve(error?.code ?? answer),
        ),
      );
    expect(await check("")).toEqual({ status: "SERVING" });
    expect(await check("zone.bridge.v1.Zones")).toEqual({ status: "SERVING" });
    expect(await check("nope")).toBe(grpc.status.NOT_FOUND);
    client.close();
  });

  it.each(["v1", "v1alpha"])("find all services and types by reflection %s", async (version) => {
    const folder = new URL(".", `file://${require.resolve("@grpc/reflection")}`).pathname;
    const definition = loadSync(`${folder}../proto/grpc/reflection/${version}/reflection.proto`, {
      keepCase: true,
      oneofs: true,
    });
    const service = definition[`grpc.reflection.${version}.ServerReflection`] ?? {};
    const Reflection = grpc.makeGenericClientConstructor(service, "ServerReflection");
    const client = new Reflection(`unix:${host.socket}`, grpc.credentials.createInsecure());
    const call = client.ServerReflectionInfo?.();
    const ask = async (request: object) => {
      call.write(request);
      return (await once(call, "data"))[0];
    };
    const listed = await ask({ list_services: "" });
    expect(listed.list_services_response.service.map((each: { name: string }) => each.name).sort()).toEqual([
      "zone.agent.v1.Container",
      "zone.agent.v1.Process",
      "zone.agent.v1.System",
      "zone.bridge.v1.Host",
      "zone.bridge.v1.Images",
      "zone.bridge.v1.Zones",
    ]);
    for (const symbol of ["zone.bridge.v1.Zones", "zone.agent.v1.Process.Attach", "zone.bridge.v1.ZoneSpec"]) {
      const found = await ask({ file_containing_symbol: symbol });
      expect(found.file_descriptor_response?.file_descriptor_proto.length, symbol).toBeGreaterThan(0);
    }
    call.end();
    client.close();
  });
});
