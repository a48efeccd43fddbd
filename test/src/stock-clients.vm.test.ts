import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";

/** The bridge's socket answers stock tools: server reflection as grpcurl uses it, and health checks. */
describe("stock gRPC clients", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
  });
  afterAll(() => bridge.close());

  const stock = (name: string, proto: string, service: string[]): Client => {
    const home = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
    const loaded = loadPackageDefinition(loadSync(join(home, proto)));
    const Stock = service.reduce<unknown>(
      (at, key) => (at as Record<string, unknown>)[key],
      loaded,
    ) as ServiceClientConstructor;
    return new Stock(`unix:${bridge.socket}`, credentials.createInsecure());
  };

  test("health", async () => {
    const client = stock("grpc-health-check", "proto/health/v1/health.proto", ["grpc", "health", "v1", "Health"]);
    const status = await new Promise((resolve, reject) => {
      const check = (
        client as unknown as Record<
          string,
          (request: object, done: (error: Error | null, answer: unknown) => void) => void
        >
      ).Check;
      check?.call(client, { service: "" }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    expect(status).toMatchObject({ status: 1 });
    client.close();
  });

  test("reflection lists our services and describes a method's types", async () => {
    const client = stock("@grpc/reflection", "build/proto/grpc/reflection/v1/reflection.proto", [
      "grpc",
      "reflection",
      "v1",
      "ServerReflection",
    ]);
    const open = (
      client as unknown as Record<
        string,
        () => import("@grpc/grpc-js").ClientDuplexStream<object, Record<string, unknown>>
      >
    ).ServerReflectionInfo;
    const ask = (request: object) =>
      new Promise<string>((resolve, reject) => {
        const call = open?.call(client);
        call?.once("data", (answer) => resolve(JSON.stringify(answer)));
        call?.once("error", reject);
        call?.write(request);
        call?.end();
      });
    const listed = await ask({ listServices: "" });
    for (const name of ["zone.bridge.v1.Zones", "zone.agent.v1.Process"]) expect(listed).toContain(name);
    expect(await ask({ fileContainingSymbol: "zone.agent.v1.Process" })).toContain("fileDescriptorProto");
    client.close();
  });
});
