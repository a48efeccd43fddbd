import { describe, expect, it } from "vitest";
import { parseSignal, signalName } from "./signals.js";

describe("parseSignal", () => {
  it.each([
    ["SIGTERM", 15],
    ["term", 15],
    ["Kill", 9],
    ["1", 1],
    ["64", 64],
    ["SIGRTMIN", 34],
    ["RTMIN+3", 37],
  ])("%j is %i", (text, number) => expect(parseSignal(text)).toBe(number));

  it.each(["", "0", "65", "-1", "9x", "SIGNOPE", "SIG", "RTMIN+99", "1e1", "999"])("refuses %j", (text) =>
    expect(() => parseSignal(text)).toThrow(expect.objectContaining({ reason: "INVALID_SIGNAL" })),
  );
});

describe("signalName", () => {
  it("names what has a name", () => {
    expect(signalName(9)).toBe("SIGKILL");
    expect(signalName(50)).toBe("signal 50");
  });
});
