import { Metadata } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { passedOn } from "./metadata.js";

function metadata(entries: [string, string | Buffer][]): Metadata {
  const made = new Metadata();
  for (const [key, value] of entries) made.add(key, value);
  return made;
}

describe("passedOn", () => {
  it("keeps keys of our own and a status's details", () => {
    const details = Buffer.from([1, 2]);
    const passed = passedOn(
      metadata([
        ["x-a", "1"],
        ["zone-b", "2"],
        ["grpc-status-details-bin", details],
        ["x-raw-bin", details],
      ]),
    );
    expect(passed.toJSON()).toEqual({
      "x-a": ["1"],
      "zone-b": ["2"],
      "grpc-status-details-bin": [details],
      "x-raw-bin": [details],
    });
  });

  it.each(["zone-id", "authorization", "connection", "date", "grpc-encoding", "te", "host", "user-agent"])(
    "leaves out %s",
    (key) => expect(passedOn(metadata([[key, "v"]])).toJSON()).toEqual({}),
  );

  it("passes one value of each key, and no more than 16 KiB", () => {
    expect(
      passedOn(
        metadata([
          ["x-a", "1"],
          ["x-a", "2"],
        ]),
      ).toJSON(),
    ).toEqual({ "x-a": ["1"] });
    const many = metadata(Array.from({ length: 100 }, (_, n) => [`x-${n}`, "v".repeat(1000)]));
    expect(Object.keys(passedOn(many).getMap()).length).toBe(16);
  });
});
