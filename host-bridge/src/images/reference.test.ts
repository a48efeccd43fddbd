import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseReference, skopeoName } from "./reference.js";

const DIGEST = `sha256:${"a".repeat(64)}`;

describe("parseReference", () => {
  it.each([
    ["alpine", "docker.io/library/alpine:latest"],
    ["docker://alpine", "docker.io/library/alpine:latest"],
    ["docker.io/alpine", "docker.io/library/alpine:latest"],
    ["index.docker.io/library/alpine:latest", "docker.io/library/alpine:latest"],
    ["user/app:v1.2_3", "docker.io/user/app:v1.2_3"],
    ["busybox:latest", "docker.io/library/busybox:latest"],
    ["docker://busybox", "docker.io/library/busybox:latest"],
    ["quay.io/a/b/c", "quay.io/a/b/c:latest"],
    ["host:5000/a:b", "host:5000/a:b"],
    ["localhost/a", "localhost/a:latest"],
    ["UPPER/a", "UPPER/a:latest"],
    ["[::1]:5000/a", "[::1]:5000/a:latest"],
    ["a__b/c-d--e.f", "docker.io/a__b/c-d--e.f:latest"],
    [`alpine:3@${DIGEST}`, `docker.io/library/alpine@${DIGEST}`],
  ])("understands %s as %s", (asked, key) => {
    expect(parseReference(asked)).toMatchObject({ asked, key, source: { kind: "registry", address: key } });
  });

  it.each([
    ["oci:/a/b", { transport: "oci", path: "/a/b", image: "" }],
    ["oci:/a/../b/:tag", { transport: "oci", path: "/b/", image: "tag" }],
    ["oci-archive:/a b.tar:x/y:z", { transport: "oci-archive", path: "/a b.tar", image: "x/y:z" }],
    ["docker-archive:/a.tar:@0", { transport: "docker-archive", path: "/a.tar", image: "@0" }],
  ])("understands %s as a file", (asked, source) => {
    const reference = parseReference(asked);
    expect(reference.source).toEqual({ kind: "local", ...source });
    expect(reference.key).toBe(`${source.transport}:${source.path}${source.image && `:${source.image}`}`);
  });

  it("has a built-in image of one exact name", () => {
    expect(parseReference("busybox")).toEqual({ asked: "busybox", key: "busybox", source: { kind: "builtin" } });
  });

  it.each([
    ["localhost:5000/a", true],
    ["127.0.0.1/a", true],
    ["127.8.9.10:80/a", true],
    ["[::1]:5000/a", true],
    ["localhost.example/a", false],
    ["127.0.0.1.example:80/a", false],
    ["1127.0.0.1/a", false],
    ["alpine", false],
  ])("tries plain http for %s: %s", (asked, plainHttp) => {
    expect(parseReference(asked).source).toMatchObject({ plainHttp });
  });

  it.each([
    "",
    " alpine",
    "Alpine",
    "a//b",
    "/alpine",
    "alpine/",
    "alpine:",
    "alpine:-x",
    `alpine:${"x".repeat(129)}`,
    "alpine@sha256:short",
    `${"a".repeat(256)}`,
    "a_-b",
    "-a",
    "-a.b/c",
    "a.b-:5/c",
    "a\nb",
    "a\0b",
    "--help",
    "dir:/x",
    "containers-storage:x",
    "docker-daemon:x:y",
    "https://example.com/x",
    "docker://docker://x",
    "docker://",
    "oci:relative/path",
    "oci-archive:./x.tar",
    "docker-archive:",
    "x".repeat(10_000),
  ])("refuses %j", (asked) => {
    expect(() => parseReference(asked)).toThrow(
      expect.objectContaining({ reason: "INVALID_IMAGE", code: "INVALID_ARGUMENT" }),
    );
  });

  it("reads the key of a registry's reference as the same reference, and never makes an option of one", () => {
    const piece = fc.string({ unit: fc.constantFrom(..."azAZ09._:@/-"), maxLength: 30 });
    fc.assert(
      fc.property(fc.oneof(piece, fc.string()), (asked) => {
        let key: string;
        try {
          const reference = parseReference(asked);
          if (reference.source.kind !== "registry") return;
          key = reference.key;
          expect(skopeoName(reference.source)).toBe(`docker://${key}`);
        } catch (error) {
          expect(error).toMatchObject({ reason: "INVALID_IMAGE" });
          return;
        }
        expect(parseReference(key).key).toBe(key);
        expect(key.startsWith("-")).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });
});
