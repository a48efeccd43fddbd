import { Metadata, status } from "@grpc/grpc-js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ZoneError } from "./errors.js";

/** As a client gets it. */
function overTheWire(error: ZoneError) {
  const received = error.toStatus();
  return Object.assign(new Error(`${received.code} ${received.details}`), received);
}

describe("ZoneError", () => {
  test("keeps everything across gRPC", () => {
    const sent = new ZoneError({
      code: "NOT_FOUND",
      reason: "ZONE_UNKNOWN",
      domain: "zone.bridge",
      message: "there is no zone web",
      resource: { type: "zone", name: "web" },
      metadata: { near: "web1" },
    });
    const got = ZoneError.from(overTheWire(sent));
    for (const key of ["code", "reason", "domain", "message", "resource", "metadata"] as const) {
      expect(got[key]).toEqual(sent[key]);
    }
  });

  test("takes a gRPC error without details, and any other value", () => {
    const plain = Object.assign(new Error("x"), {
      code: status.UNAVAILABLE,
      details: "no link",
      metadata: new Metadata(),
    });
    expect(ZoneError.from(plain)).toMatchObject({ code: "UNAVAILABLE", reason: "UNAVAILABLE", message: "no link" });
    expect(ZoneError.from("oops")).toMatchObject({ code: "INTERNAL", message: "oops" });
    const one = new ZoneError({ code: "ABORTED", reason: "X", message: "y" });
    expect(ZoneError.from(one)).toBe(one);
  });

  test("no details from a peer can throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const metadata = new Metadata();
        metadata.set("grpc-status-details-bin", Buffer.from(bytes));
        const error = Object.assign(new Error("x"), { code: status.INTERNAL, details: "d", metadata });
        expect(ZoneError.from(error).code).toBe("INTERNAL");
      }),
    );
  });
});
