import { createRequire } from "node:module";
import type { Server } from "@grpc/grpc-js";
import { fileDescriptors } from "@zone/proto";

// These packages read .proto files from their own folder, and are CommonJS: they are loaded from node_modules also by the bundle.
const require = createRequire(import.meta.url);
const { ReflectionService } = require("@grpc/reflection") as typeof import("@grpc/reflection");
const { HealthImplementation } = require("grpc-health-check") as typeof import("grpc-health-check");

const SERVICES = [
  "zone.bridge.v1.Zones",
  "zone.bridge.v1.Images",
  "zone.bridge.v1.Host",
  "zone.agent.v1.Process",
  "zone.agent.v1.Container",
  "zone.agent.v1.System",
];

/** grpc.reflection.v1 and v1alpha, and grpc.health.v1: what stock tools need. */
export interface StockServices {
  addTo(server: Server): void;
  /** What health says from now on. */
  setServing(serving: boolean): void;
}

export function stockServices(): StockServices {
  const fileDescriptorProtos = fileDescriptors.map((text) => Buffer.from(text, "base64"));
  // The service reads nothing else of a PackageDefinition than the descriptors of its entries.
  const entry = { format: "Protocol Buffer 3 DescriptorProto", type: {}, fileDescriptorProtos };
  const reflection = new ReflectionService({ zone: entry as never }, { services: SERVICES });
  const health = new HealthImplementation(Object.fromEntries(["", ...SERVICES].map((name) => [name, "SERVING"])));
  return {
    addTo(server) {
      reflection.addToServer(server);
      health.addToServer(server);
    },
    setServing(serving) {
      for (const name of ["", ...SERVICES]) health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
    },
  };
}
