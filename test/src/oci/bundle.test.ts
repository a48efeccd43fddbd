import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readBundle } from "./bundle.js";

const folder = mkdtempSync(join(tmpdir(), "oci-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

function bundleOf(config: string) {
  writeFileSync(join(folder, "config.json"), config);
  return readBundle(folder);
}

describe("a bundle", () => {
  it("is taken as it is, to the byte", () => {
    const text =
      '{"ociVersion":"1.0.2", "root":{"path":"."},"process":{"rlimits":[{"hard":18446744073709551615}]},"hooks":{}}';
    const bundle = bundleOf(text);
    expect(bundle).toMatchObject({ folder, root: folder, ociVersion: "1.0.2", annotations: {} });
    expect(bundle.configFor("/zone/rootfs").toString()).toBe(text);
  });

  it("has hooks that find its files where they are in the zone", () => {
    const hook = { path: `${folder}/rootfs/bin/sh`, args: ["sh", "-c", `echo > ${folder}/rootfs/out`], env: ["A=/x"] };
    const { configFor } = bundleOf(
      JSON.stringify({ ociVersion: "1.0.2", hooks: { prestart: [hook], poststop: null } }),
    );
    expect(JSON.parse(configFor("/z").toString())).toEqual({
      ociVersion: "1.0.2",
      hooks: { prestart: [{ path: "/z/bin/sh", args: ["sh", "-c", "echo > /z/out"], env: ["A=/x"] }] },
    });
  });

  it("needs a config.json that is one", () => {
    expect(() => bundleOf("{")).toThrow("no JSON");
    expect(() => readBundle(join(folder, "none"))).toThrow("config.json");
  });
});
