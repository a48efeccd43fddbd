import { ReflectionV1Implementation } from "@grpc/reflection/build/src/implementations/reflection-v1.js";
import { fileDescriptors } from "@zone/proto";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import type { Health, RawServices } from "./raw-services.js";

/**
 * The lazily loaded part of the agent, a bundle of its own: what answers grpc.health.v1 and grpc.reflection.v1.
 *
 * The reflection logic is @grpc/reflection's. Its addToServer (like all of grpc-health-check) reads .proto files from the
 * package's folder, which a bundle does not have, so the two contracts are here as text: as published in
 * https://github.com/grpc/grpc-proto, without the comments.
 */
const HEALTH = `
syntax = "proto3";
package grpc.health.v1;
message HealthListRequest {}
message HealthListResponse { map<string, HealthCheckResponse> statuses = 1; }
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
  ServingStatus status = 1;
}
service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
  rpc List(HealthListRequest) returns (HealthListResponse);
}
`;
const REFLECTION = `
syntax = "proto3";
package grpc.reflection.v1;
service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
message ServerReflectionRequest {
  string host = 1;
  oneof message_request {
    string file_by_filename = 3;
    string file_containing_symbol = 4;
    ExtensionRequest file_containing_extension = 5;
    string all_extension_numbers_of_type = 6;
    string list_services = 7;
  }
}
message ExtensionRequest { string containing_type = 1; int32 extension_number = 2; }
message ServerReflectionResponse {
  string valid_host = 1;
  ServerReflectionRequest original_request = 2;
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ExtensionNumberResponse all_extension_numbers_response = 5;
    ListServiceResponse list_services_response = 6;
    ErrorResponse error_response = 7;
  }
}
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ExtensionNumberResponse { string base_type_name = 1; repeated int32 extension_number = 2; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ServiceResponse { string name = 1; }
message ErrorResponse { int32 error_code = 1; string error_message = 2; }
`;

/** ServingStatus of grpc.health.v1. */
const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

/** The services of the two contracts above, and their files, as reflection answers with. */
const OWN_SERVICES = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/** Answers health from `health`, and reflection with `services` (by full name) and the two standard ones. */
export function createRawServices(services: readonly string[], health: Health): RawServices {
  const root = protobuf.parse(HEALTH).root;
  protobuf.parse(REFLECTION, root);
  root.resolveAll();
  const type = (name: string) => root.lookupType(name);
  const checkRequest = type("grpc.health.v1.HealthCheckRequest");
  const checkResponse = type("grpc.health.v1.HealthCheckResponse");
  const listResponse = type("grpc.health.v1.HealthListResponse");
  const reflectionRequest = type("grpc.reflection.v1.ServerReflectionRequest");
  const reflectionResponse = type("grpc.reflection.v1.ServerReflectionResponse");

  const all = [...services, ...OWN_SERVICES];
  const reflection = new ReflectionV1Implementation(packageOf(root), { services: all });
  const status = (service: string): number | undefined => {
    const serving = all.includes(service) && !services.includes(service) ? true : health(service);
    if (serving === undefined) return undefined;
    return serving ? SERVING : NOT_SERVING;
  };
  const serviceOf = (request: Buffer) => String(checkRequest.decode(request).toJSON().service ?? "");
  const encode = (message: protobuf.Type, value: object) =>
    Buffer.from(message.encode(message.fromObject(value)).finish());
  return {
    check: (request) => {
      const known = status(serviceOf(request));
      return known === undefined ? undefined : encode(checkResponse, { status: known });
    },
    watch: (request) => encode(checkResponse, { status: status(serviceOf(request)) ?? SERVICE_UNKNOWN }),
    listHealth: () => {
      const statuses = Object.fromEntries(["", ...all].map((service) => [service, { status: status(service) }]));
      return encode(listResponse, { statuses });
    },
    reflect: (request) => {
      const decoded = reflectionRequest.toObject(reflectionRequest.decode(request), { oneofs: true });
      return encode(reflectionResponse, reflection.handleServerReflectionRequest(decoded as never));
    },
  };
}

/** Our files and the standard ones as @grpc/reflection takes them: a package definition of nothing but file descriptors. */
function packageOf(root: protobuf.Root): ConstructorParameters<typeof ReflectionV1Implementation>[0] {
  const standard = root.toDescriptor("proto3").file.map((file) => descriptor.FileDescriptorProto.encode(file).finish());
  const ours = fileDescriptors.map((base64) => Buffer.from(base64, "base64"));
  const files = [...ours, ...standard].map((file) => Buffer.from(file));
  return { files: { format: "files", type: {}, fileDescriptorProtos: files } } as never;
}
