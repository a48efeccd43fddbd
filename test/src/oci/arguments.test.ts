import { describe, expect, it } from "vitest";
import { readCommand, signalNumber } from "./arguments.js";

describe("the runtime's command line", () => {
  it("is read", () => {
    expect(readCommand(["create", "--pid-file", "p", "--bundle", "b", "id"])).toEqual({
      ...{ name: "create", id: "id", bundle: "b", pidFile: "p" },
    });
    expect(readCommand(["create", "id"])).toEqual({ name: "create", id: "id", bundle: ".", pidFile: undefined });
    expect(readCommand(["state", "id"])).toEqual({ name: "state", id: "id" });
    expect(readCommand(["kill", "id"])).toEqual({ name: "kill", id: "id", signal: 15 });
    expect(readCommand(["kill", "id", "USR1"])).toEqual({ name: "kill", id: "id", signal: 10 });
  });

  it("is refused", () => {
    for (const args of [[], ["start"], ["run", "id"], ["start", "a", "b"], ["start", "--bundle", "b", "id"]])
      expect(() => readCommand(args)).toThrow();
    for (const args of [
      ["create", "--bundle"],
      ["kill", "id", "NONE"],
      ["kill", "id", "0"],
      ["kill", "id", "9", "9"],
    ])
      expect(() => readCommand(args)).toThrow();
  });

  it("takes signals by name and number", () => {
    expect(["TERM", "SIGTERM", "term", "15"].map(signalNumber)).toEqual([15, 15, 15, 15]);
    expect(() => signalNumber("65")).toThrow();
  });
});
