import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "./limits.js";
import { parseConfig, parseManifest } from "./manifest.js";

const digest = `sha256:${"a".repeat(64)}`;
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 10 };
const good = {
  schemaVersion: 2,
  config: { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 5 },
  layers: [layer],
};
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

describe("parseManifest", () => {
  it("takes OCI's and Docker's", () => {
    expect(parseManifest(bytes(good), DEFAULT_LIMITS)).toEqual({
      config: { digest, size: 5 },
      layers: [{ digest, size: 10 }],
    });
    const docker = {
      schemaVersion: 2,
      mediaType: "application/vnd.docker.distribution.manifest.v2+json",
      config: { mediaType: "application/vnd.docker.container.image.v1+json", digest, size: 5 },
      layers: [{ mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", digest, size: 10 }],
    };
    expect(parseManifest(bytes(docker), DEFAULT_LIMITS).layers).toHaveLength(1);
  });

  it.each<[string, unknown, RegExp]>([
    ["no JSON", undefined, /not JSON/],
    ["no object", [], /not an object/],
    ["schema 1", { ...good, schemaVersion: 1 }, /not supported/],
    [
      "an index",
      { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] },
      /not supported/,
    ],
    ["no config", { ...good, config: undefined }, /config is missing/],
    [
      "another kind of artifact",
      { ...good, config: { ...good.config, mediaType: "application/vnd.cncf.helm" } },
      /no container image/,
    ],
    [
      "an encrypted layer",
      { ...good, layers: [{ ...layer, mediaType: `${layer.mediaType}+encrypted` }] },
      /no container image/,
    ],
    ["a config too large", { ...good, config: { ...good.config, size: 2 ** 21 } }, /are the most/],
    ["too many layers", { ...good, layers: Array(128).fill(layer) }, /128 layers; 127 are the most/],
    ["layers that are no list", { ...good, layers: {} }, /no list of layers/],
    ["a digest that is a path", { ...good, layers: [{ ...layer, digest: "sha256:../../etc/passwd" }] }, /not a sha256/],
    ["a negative size", { ...good, layers: [{ ...layer, size: -1 }] }, /size/],
    ["a size that is none", { ...good, layers: [{ ...layer, size: "10" }] }, /size/],
  ])("refuses %s", (_, manifest, message) => {
    const raw = manifest === undefined ? Buffer.from("{") : bytes(manifest);
    expect(() => parseManifest(raw, DEFAULT_LIMITS)).toThrow(
      expect.objectContaining({ reason: "IMAGE_REFUSED", message: expect.stringMatching(message) }),
    );
  });
});

describe("parseConfig", () => {
  const base = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [digest] } };

  it("takes what running needs, and nothing for what is not said", () => {
    const run = {
      Entrypoint: ["/e"],
      Cmd: null,
      Env: ["A=b"],
      User: "1:2",
      WorkingDir: "/w",
      StopSignal: "SIGINT",
      Labels: { x: "y" },
    };
    expect(parseConfig(bytes({ ...base, config: run }), "amd64")).toEqual({
      config: {
        entrypoint: ["/e"],
        cmd: [],
        env: ["A=b"],
        user: "1:2",
        workingDir: "/w",
        stopSignal: "SIGINT",
        architecture: "amd64",
      },
      diffIds: [digest],
    });
    expect(parseConfig(bytes(base), "amd64").config).toMatchObject({
      entrypoint: [],
      cmd: [],
      env: [],
      user: "",
      workingDir: "",
    });
    expect(parseConfig(bytes({ ...base, config: { Cmd: "sh" } }), "amd64").config.cmd).toEqual(["sh"]);
  });

  it.each<[string, unknown, RegExp]>([
    ["another architecture", { ...base, architecture: "s390x" }, /linux\/s390x; zones on this host run linux\/amd64/],
    ["another system", { ...base, os: "windows" }, /windows\/amd64/],
    ["no architecture", { ...base, architecture: undefined }, /architecture is missing/],
    ["no layers", { ...base, rootfs: undefined }, /rootfs is missing/],
    ["a diff_id that is none", { ...base, rootfs: { diff_ids: ["md5:1"] } }, /diff_id/],
    ["a number as an argument", { ...base, config: { Cmd: [1] } }, /Cmd/],
    ["NUL in the environment", { ...base, config: { Env: ["A=\0"] } }, /Env/],
    ["an object as the user", { ...base, config: { User: {} } }, /User/],
  ])("refuses %s", (_, config, message) => {
    expect(() => parseConfig(bytes(config), "amd64")).toThrow(
      expect.objectContaining({ reason: "IMAGE_REFUSED", message: expect.stringMatching(message) }),
    );
  });
});

it("answers any JSON with a value or a refusal", () => {
  const json = fc.jsonValue({ maxDepth: 4 });
  fc.assert(
    fc.property(json, json, json, (a, b, c) => {
      for (const parse of [
        () => parseManifest(bytes({ ...good, config: a, layers: [b, c] }), DEFAULT_LIMITS),
        () => parseManifest(bytes(a), DEFAULT_LIMITS),
        () =>
          parseConfig(
            bytes({ architecture: "amd64", os: "linux", rootfs: { diff_ids: a }, config: { Cmd: b, User: c } }),
            "amd64",
          ),
      ]) {
        try {
          parse();
        } catch (error) {
          expect(error).toMatchObject({ reason: "IMAGE_REFUSED" });
        }
      }
    }),
  );
});
