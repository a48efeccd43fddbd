import { constants } from "node:fs";
import { access, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { errorMessage } from "../errors.js";
import type { Accelerator } from "./qemu-args.js";

/** What the user wants: "auto" is KVM where it works. */
export type WantedAccelerator = "auto" | Accelerator;

/** The accelerator that zones run with, and why it is not KVM. */
export interface AcceleratorChoice {
  accelerator: Accelerator;
  why: string;
}

export interface KnownOptions {
  wanted: WantedAccelerator;
  /** Usually /dev/kvm. */
  kvmDevice: string;
  /** Where the answer of a probe is kept. */
  cachePath: string;
  /** What the answer depends on: the host's kernel, QEMU, the zone image. */
  cacheKey: string;
}

/** The answer as far as it is known without booting anything. */
export async function knownAccelerator(options: KnownOptions): Promise<AcceleratorChoice | undefined> {
  if (options.wanted !== "auto") return { accelerator: options.wanted, why: "chosen by configuration" };
  try {
    await access(options.kvmDevice, constants.R_OK | constants.W_OK);
  } catch (error) {
    return { accelerator: "tcg", why: `KVM is not available: ${errorMessage(error)}` };
  }
  return recall(options);
}

/**
 * Chooses by trying. That /dev/kvm exists says little (it may be emulated, nested or filtered): `probe` boots a zone with it, and
 * rejects when that does not work. The answer is remembered, unless the trial was cancelled.
 */
export async function chooseAccelerator(
  options: KnownOptions,
  probe: () => Promise<void>,
  signal: AbortSignal,
): Promise<AcceleratorChoice> {
  const choice = await probed(probe);
  signal.throwIfAborted();
  await remember(options, choice);
  return choice;
}

async function probed(probe: () => Promise<void>): Promise<AcceleratorChoice> {
  try {
    await probe();
    return { accelerator: "kvm", why: "a zone boots with it" };
  } catch (error) {
    return { accelerator: "tcg", why: `a zone does not boot with KVM: ${errorMessage(error)}` };
  }
}

async function recall({ cachePath, cacheKey }: KnownOptions): Promise<AcceleratorChoice | undefined> {
  try {
    const value = JSON.parse(await readFile(cachePath, "utf8")) as Partial<AcceleratorChoice & { key: string }> | null;
    const { key, accelerator, why } = value ?? {};
    if (key !== cacheKey || (accelerator !== "kvm" && accelerator !== "tcg") || typeof why !== "string")
      return undefined;
    return { accelerator, why };
  } catch {
    return undefined; // not there or not readable: probe (again)
  }
}

async function remember({ cachePath, cacheKey }: KnownOptions, choice: AcceleratorChoice): Promise<void> {
  await mkdir(dirname(cachePath), { recursive: true, mode: 0o700 });
  const aside = `${cachePath}.new`;
  await writeFile(aside, `${JSON.stringify({ key: cacheKey, ...choice })}\n`, { mode: 0o600 });
  await rename(aside, cachePath);
}
