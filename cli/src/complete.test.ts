import { describe, expect, it } from "vitest";
import { candidates } from "./complete.js";
import { RawArguments } from "./parse/raw-arguments.js";
import { buildProgram } from "./program.js";

const program = buildProgram({
  context: () => {
    throw new Error("completion runs nothing");
  },
  rawArguments: new RawArguments(Buffer.alloc(0), []),
  ownEnvironment: () => new Map(),
  finished: () => {},
  complete: async () => {},
});
const names = {
  zones: async () => ["web", "db"],
  volumes: async () => ["data"],
  images: async () => ["busybox", "debian:12"],
};
const complete = (...words: string[]) => candidates(program, words, names);

describe("completion", () => {
  it("commands", async () => {
    expect(await complete("r")).toEqual(["rename", "rm", "run"]);
    expect(await complete("image", "")).toEqual(["ls", "pull", "rm"]);
    expect(await complete("volume", "rm", "")).toEqual(["data"]);
    expect(await complete("")).not.toContain("__complete");
  });
  it("options", async () => {
    expect(await complete("run", "--re")).toEqual(["--read-only"]);
    expect(await complete("--b")).toEqual(["--bridge"]);
    expect(await complete("ls", "--form")).toEqual(["--format"]);
  });
  it("values of options", async () => {
    expect(await complete("ls", "--format", "")).toEqual(["json", "table"]);
    expect(await complete("run", "--env-file", "")).toBeUndefined();
    expect(await complete("run", "--name", "")).toEqual([]);
    expect(await complete("completion", "z")).toEqual(["zsh"]);
  });
  it("names", async () => {
    expect(await complete("exec", "-it", "")).toEqual(["db", "web"]);
    expect(await complete("run", "-it", "--name", "x", "b")).toEqual(["busybox"]);
    expect(await complete("run", "-ite", "A=1", "b")).toEqual(["busybox"]);
    expect(await complete("rm", "-f", "web", "")).toEqual(["db", "web"]);
    expect(await complete("inspect", "")).toEqual(["busybox", "db", "debian:12", "web"]);
    expect(await complete("logs", "web", "")).toEqual([]);
  });
  it("leaves the zone's command alone", async () => {
    expect(await complete("exec", "web", "")).toEqual([]);
    expect(await complete("exec", "web", "ls", "-")).toEqual([]);
  });
});
