import { describe, expect, it } from "vitest";
import type { ImageConfig } from "../images/image-store.js";
import { commandOf, environmentOf, nameOf } from "./command.js";

const image: ImageConfig = {
  entrypoint: ["/entry", "-x"],
  cmd: ["serve"],
  env: ["PATH=/bin", "A=image"],
  user: "",
  workingDir: "",
  stopSignal: "",
  architecture: "amd64",
};
const bytes = (...texts: string[]) => texts.map((text) => Buffer.from(text, "latin1"));
const texts = (list: readonly Uint8Array[]) => list.map((entry) => Buffer.from(entry).toString("latin1"));

describe("commandOf", () => {
  const cases: [string, Partial<ImageConfig>, string[] | undefined, string[], string[]][] = [
    ["the image's entrypoint and cmd", {}, undefined, [], ["/entry", "-x", "serve"]],
    ["a command replaces the cmd", {}, undefined, ["ls", "-l"], ["/entry", "-x", "ls", "-l"]],
    ["an entrypoint drops the cmd", {}, ["/bin/sh"], [], ["/bin/sh"]],
    ["an entrypoint with a command", {}, ["/bin/sh"], ["-c", "true"], ["/bin/sh", "-c", "true"]],
    ["an empty entrypoint clears the image's", {}, [], ["ls"], ["ls"]],
    ["an empty entrypoint alone leaves nothing", {}, [], [], []],
    ["no entrypoint in the image", { entrypoint: [] }, undefined, [], ["serve"]],
    ["nothing at all", { entrypoint: [], cmd: [] }, undefined, [], []],
    ["an empty argument stays", {}, undefined, [""], ["/entry", "-x", ""]],
  ];
  it.each(cases)("%s", (_, config, entrypoint, command, expected) => {
    const argv = commandOf({ ...image, ...config }, entrypoint && bytes(...entrypoint), bytes(...command));
    expect(texts(argv)).toEqual(expected);
  });
});

describe("environmentOf", () => {
  it("puts the image's and the request's in order, the last of a name wins", () => {
    const env = environmentOf(image, bytes("A=request", "B=1", "B=2"), "web", false);
    expect(texts(env)).toEqual(["HOSTNAME=web", "PATH=/bin", "A=request", "B=2"]);
  });

  it("sets TERM with a tty, which the image or request may change", () => {
    expect(texts(environmentOf(image, [], "web", true))).toContain("TERM=xterm");
    expect(texts(environmentOf(image, bytes("TERM=vt100"), "web", true))).toContain("TERM=vt100");
  });

  it("keeps bytes that are no text", () => {
    const env = environmentOf(image, [Buffer.from([0x41, 0x3d, 0xff, 0x0a])], "web", false);
    expect(env).toContainEqual(Buffer.from([0x41, 0x3d, 0xff, 0x0a]));
  });
});

describe("nameOf", () => {
  it.each([
    ["A=b", "A"],
    ["A==", "A"],
    ["A=", "A"],
    ["=b", undefined],
    ["A", undefined],
    ["", undefined],
  ])("of %j is %j", (entry, name) => expect(nameOf(Buffer.from(entry))).toBe(name));
});
