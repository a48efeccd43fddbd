import { expect, it } from "vitest";
import { parseReference } from "./reference.js";
import type { SkopeoSource } from "./skopeo.js";
import { skopeoError } from "./skopeo-error.js";

function source(reference: string): SkopeoSource {
  const { source } = parseReference(reference);
  if (source.kind === "builtin") throw new Error("not skopeo's");
  return source;
}

/* As skopeo 1.9 and 1.13 say it. */
it.each([
  [
    "alpine",
    'pinging container registry h: Get \\"https://h/v2/\\": dial tcp: lookup h: no such host',
    "REGISTRY_UNREACHABLE",
  ],
  [
    "alpine",
    'pinging container registry h: Get \\"https://h/v2/\\": x509: certificate signed by unknown authority',
    "REGISTRY_UNREACHABLE",
  ],
  ["alpine", "reading manifest x in docker.io/library/alpine: manifest unknown: manifest unknown", "IMAGE_UNKNOWN"],
  ["alpine", "reading manifest latest in h/a: name unknown: repository name not known to registry", "IMAGE_UNKNOWN"],
  ["alpine", "reading manifest latest in h/a: StatusCode: 404, <!DOCTYPE html>", "IMAGE_UNKNOWN"],
  [
    "alpine",
    "reading manifest latest in docker.io/a/b: errors:\\ndenied: requested access to the resource is denied",
    "REGISTRY_DENIED",
  ],
  ["alpine", "reading manifest latest in h/a: unauthorized: authentication required", "REGISTRY_DENIED"],
  ["alpine", "writing blob: write /x: no space left on device", "DISK_FULL"],
  [
    "alpine",
    'choosing image instance: no image found in manifest list for architecture amd64, variant \\"\\", OS linux',
    "IMAGE_UNKNOWN",
  ],
  ["oci:/x:y", 'initializing source oci:/x:y: no descriptor found for reference \\"y\\"', "IMAGE_UNKNOWN"],
  ["docker-archive:/x", "initializing source: open /x: no such file or directory", "IMAGE_UNKNOWN"],
  ["docker-archive:/x", "initializing source: archive/tar: invalid tar header", "IMAGE_REFUSED"],
  ["oci:/x", "writing blob: Digest did not match, expected sha256:a, got sha256:b", "IMAGE_REFUSED"],
])("for %s understands: %s", (reference, message, reason) => {
  const stderr = `time="2026-01-01T00:00:00Z" level=warning msg="other"\ntime="2026-01-01T00:00:00Z" level=fatal msg="${message}"\n`;
  expect(skopeoError(stderr, source(reference))).toMatchObject({ reason });
});

it("shows what a registry says as text only", () => {
  const error = skopeoError(`level=fatal msg="bad \u001b[31m \u202e ${"x".repeat(5000)}"`, source("alpine"));
  expect(error.message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  expect(error.message.length).toBeLessThan(700);
  expect(skopeoError("", source("alpine")).message).toContain("without a word");
});
