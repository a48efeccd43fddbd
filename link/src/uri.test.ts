import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAgentAddress, formatLinkUri, type LinkAddress, parseAgentAddress, parseLinkUri } from "./uri.js";

const examples: [string, LinkAddress][] = [
  ["unix:/run/a.sock", { kind: "unix", path: "/run/a.sock" }],
  ["unix:/with:colon", { kind: "unix", path: "/with:colon" }],
  ["serial:/run/z/link", { kind: "serial", path: "/run/z/link" }],
  ["hvsock:/run/v.sock:1024", { kind: "hvsock", path: "/run/v.sock", port: 1024 }],
  ["hvsock:/a:b:5", { kind: "hvsock", path: "/a:b", port: 5 }],
  ["vsock:3:1024", { kind: "vsock", cid: 3, port: 1024 }],
  ["vsock:4294967295:0", { kind: "vsock", cid: 4294967295, port: 0 }],
  ["vchan:7/zone.link", { kind: "vchan", domid: 7, name: "zone.link" }],
];

describe("link URIs", () => {
  test.each(examples)("%s", (uri, address) => {
    expect(parseLinkUri(uri)).toEqual(address);
    expect(formatLinkUri(address)).toBe(uri);
  });

  test.each([
    "",
    "unix",
    "unix:",
    "unix:relative",
    "unix:/nul\0",
    `unix:/${"x".repeat(107)}`,
    "tcp:localhost:1",
    "UNIX:/x",
    "hvsock:/x",
    "hvsock:/x:",
    "hvsock:/x:port",
    "vsock:3",
    "vsock:3:4:5",
    "vsock:-1:4",
    "vsock:4294967296:1",
    "vsock: 3:1",
    "vsock:0x3:1",
    "vchan:1",
    "vchan:1/",
    "vchan:1/../../etc",
    "vchan:x/name",
  ])("refuses %j", (uri) => {
    expect(() => parseLinkUri(uri)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "LINK_URI_INVALID" }),
    );
  });

  test("whatever parses is given back", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("unix", "serial", "hvsock", "vsock", "vchan", "x"),
        fc.oneof(
          fc.string(),
          fc.webPath(),
          fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `${a}:${b}`),
        ),
        (scheme, rest) => {
          let address: LinkAddress;
          try {
            address = parseLinkUri(`${scheme}:${rest}`);
          } catch (error) {
            expect(error).toMatchObject({ reason: "LINK_URI_INVALID" });
            return;
          }
          expect(parseLinkUri(formatLinkUri(address))).toEqual(address);
        },
      ),
    );
  });
});

describe("agent's addresses", () => {
  test.each(["serial:zone.link", "vsock:1024", "unix:/run/agent.sock"])("%s", (uri) => {
    expect(formatAgentAddress(parseAgentAddress(uri))).toBe(uri);
  });

  test.each(["serial:", "serial:/dev/x", "serial:../x", "vsock:3:1024", "vsock:", "vchan:1/x", "hvsock:/x:1"])(
    "refuses %j",
    (uri) => {
      expect(() => parseAgentAddress(uri)).toThrow(expect.objectContaining({ reason: "LINK_URI_INVALID" }));
    },
  );
});
