import { describe, expect, it } from "vitest";
import { parseCopyEnd, pathEnd, placeFor } from "./place.js";

describe("parseCopyEnd", () => {
  it.each([
    ["-", { kind: "stream" }],
    ["web:/etc/hosts", { kind: "zone", zone: "web", path: "/etc/hosts" }],
    ["web:etc", { kind: "zone", zone: "web", path: "/etc" }],
    ["web:/a:b", { kind: "zone", zone: "web", path: "/a:b" }],
    ["./a:b", { kind: "local", path: "./a:b" }],
    ["/a:b", { kind: "local", path: "/a:b" }],
    ["a", { kind: "local", path: "a" }],
    [".", { kind: "local", path: "." }],
  ])("%s", (text, end) => expect(parseCopyEnd(text)).toEqual(end));

  it.each(["", "web:"])("refuses '%s'", (text) => expect(() => parseCopyEnd(text)).toThrow(/invalid/));
});

it.each([
  ["/a/b", "/a/b", false, false],
  ["/a/b/", "/a/b", false, true],
  ["/a/b/.", "/a/b", true, true],
  ["/a/b/./", "/a/b", false, true],
  ["a", "a", false, false],
  [".", ".", true, true],
  ["./", ".", false, true],
  ["/", "/", false, true],
  ["/.", "/", true, true],
  ["a.", "a.", false, false],
  ["/a/..", "/a/..", false, false],
])("pathEnd %s", (text, path, isContent, mustBeDirectory) => {
  expect(pathEnd(text)).toEqual({ path, isContent, mustBeDirectory });
});

describe("placeFor", () => {
  const file = { shown: "f", name: "f", isDirectory: false, isContent: false };
  const folder = { shown: "d", name: "d", isDirectory: true, isContent: false };
  const content = { ...folder, isContent: true };
  it.each([
    ["a file to nothing", file, "/x/new", undefined, { directory: "/x", name: "new" }],
    ["a file to a file", file, "/x/old", "other", { directory: "/x", name: "old" }],
    ["a file into a directory", file, "/x", "directory", { directory: "/x", name: "f" }],
    ["a file into the root", file, "/", "directory", { directory: "/", name: "f" }],
    ["a file to a name here", file, "new", undefined, { directory: ".", name: "new" }],
    ["a directory to nothing", folder, "/x/new", undefined, { directory: "/x", name: "new" }],
    ["a directory to nothing, with a slash", folder, "/x/new/", undefined, { directory: "/x", name: "new" }],
    ["a directory into a directory", folder, "/x/", "directory", { directory: "/x", name: "d" }],
    ["content to nothing", content, "/new", undefined, { directory: "/", name: "new" }],
    ["content into a directory", content, "/x", "directory", { directory: "/x", name: undefined }],
  ] as const)("%s", (_, source, path, there, place) => expect(placeFor(source, path, there)).toEqual(place));

  it.each([
    ["a file to a directory that is missing", file, "/x/", undefined, /no directory/],
    ["a directory to a file", folder, "/x", "other", /not a directory/],
    ["a file to a file with a slash", file, "/x/", "other", /not a directory/],
  ] as const)("refuses %s", (_, source, path, there, message) => {
    expect(() => placeFor(source, path, there)).toThrow(message);
  });
});
