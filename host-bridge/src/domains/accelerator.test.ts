import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chooseAccelerator, type KnownOptions, knownAccelerator, kvmGroup } from "./accelerator.js";

describe("the accelerator", () => {
  let directory: string;
  let options: KnownOptions;
  const never = new AbortController().signal;
  const works = async () => {};
  const fails = async () => {
    throw new Error("it hung");
  };
  beforeEach(async () => {
    directory = await mkdtemp("/tmp/zone-kvm-");
    await writeFile(join(directory, "kvm"), "");
    await chmod(join(directory, "kvm"), 0o666);
    const cachePath = join(directory, "state/accelerator.json");
    options = { wanted: "auto", kvmDevice: join(directory, "kvm"), cachePath, cacheKey: "kernel 1" };
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it("is what the user wants, without a trial", async () => {
    expect(await knownAccelerator({ ...options, wanted: "tcg" })).toMatchObject({ accelerator: "tcg" });
    expect(await knownAccelerator({ ...options, wanted: "kvm", kvmDevice: "/none" })).toMatchObject({
      accelerator: "kvm",
    });
  });

  it("is TCG without a /dev/kvm", async () => {
    const known = await knownAccelerator({ ...options, kvmDevice: "/no/kvm" });
    expect(known).toEqual({ accelerator: "tcg", why: expect.stringContaining("ENOENT") });
  });

  it("is TCG when no VMM could open /dev/kvm", async () => {
    await chmod(options.kvmDevice, 0o600);
    expect(await knownAccelerator(options)).toEqual({
      accelerator: "tcg",
      why: expect.stringContaining("only root may use"),
    });
    if (process.getuid?.() !== 0) return;
    await chmod(options.kvmDevice, 0o660);
    expect(await knownAccelerator(options)).toMatchObject({ accelerator: "tcg" });
    await chown(options.kvmDevice, 0, 104);
    expect(await knownAccelerator(options)).toBeUndefined();
    expect(await kvmGroup(options.kvmDevice)).toBe(104);
  });

  it("is what a trial says, and remembered for the same kernel, QEMU and image", async () => {
    expect(await knownAccelerator(options)).toBeUndefined();
    expect(await chooseAccelerator(options, works, never)).toMatchObject({ accelerator: "kvm" });
    expect(await knownAccelerator(options)).toMatchObject({ accelerator: "kvm" });
    const upgraded = { ...options, cacheKey: "kernel 2" };
    expect(await knownAccelerator(upgraded)).toBeUndefined();
    expect(await chooseAccelerator(upgraded, fails, never)).toEqual({
      accelerator: "tcg",
      why: "a zone does not boot with KVM: it hung",
    });
    expect(await knownAccelerator(upgraded)).toMatchObject({ accelerator: "tcg" });
  });

  it("is not remembered from a trial that was cancelled, nor from a broken file", async () => {
    await expect(chooseAccelerator(options, fails, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
    expect(await knownAccelerator(options)).toBeUndefined();
    await chooseAccelerator(options, works, never);
    await writeFile(options.cachePath, '{"key":"kernel 1","accelerator":"magic"}');
    expect(await knownAccelerator(options)).toBeUndefined();
  });
});
