import { constants } from "node:fs";
import { access, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { errorMessage } from "../errors.js";
import type { Accelerator } from "./qemu-args.js";

export const KVM_DEVICE = "/dev/kvm";

/** What the user wants: "auto" is KVM where it works. */
export type WantedAccelerator = "auto" | Accelerator;

/** The accelerator that zones run with, and why it is not KVM. */
export interface AcceleratorChoice {
  accelerator: Accelerator;
  why: string;
}

export interface KnownOptions {
  wanted: WantedAccelerator;
  /** KVM_DEVICE. */
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
    await kvmGroup(options.kvmDevice);
  } catch (error) {
    return { accelerator: "tcg", why: `KVM is not available: ${errorMessage(error)}` };
  }
  return recall(options);
}

/**
 * The group that lets a VMM with a user of its own use KVM, usually "kvm"; undefined when everyone may. Throws when only root
 * may, or root's group: no VMM gets that.
 */
export async function kvmGroup(kvmDevice: string): Promise<number | undefined> {
  const { mode, gid } = await stat(kvmDevice);
  if ((mode & 0o006) === 0o006) return undefined;
  if ((mode & 0o060) === 0o060 && gid !== 0) return gid;
  throw new Error(`only root may use ${kvmDevice}; give it a group, as udev does: chown root:kvm, chmod 660`);
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
