import { bridge, type zone } from "@zone/proto";
import { errorMessage } from "../errors.js";
import type { AcceleratorProbe } from "./accelerator-probe.js";
import type { QemuVersion } from "./qemu-version.js";
import { openZoneImage } from "./zone-image.js";

/** One thing that was looked at. */
export type Check = zone.bridge.v1.Check.$Properties;

const { RESULT_OK, RESULT_WARNING, RESULT_FAILED, RESULT_ABSENT } = bridge.Check.Result;

/** What there is to look at. */
export interface Looked {
  version: QemuVersion;
  imageDirectory: string;
  accelerator: AcceleratorProbe;
}

/** The checks of QEMU and KVM, for doctor. With `probe`, a zone is booted to learn whether KVM works, if that is not known. */
export async function qemuChecks(looked: Looked, probe: boolean, signal: AbortSignal): Promise<Check[]> {
  let version: string;
  try {
    version = await looked.version.get();
  } catch (error) {
    const advice = "apt-get install qemu-system-x86";
    return [{ name: "qemu", result: RESULT_FAILED, message: errorMessage(error), advice }];
  }
  return [
    { name: "qemu", result: RESULT_OK, message: `QEMU ${version}` },
    await kvmCheck(looked, version, probe, signal),
  ];
}

async function kvmCheck(looked: Looked, version: string, probe: boolean, signal: AbortSignal): Promise<Check> {
  const name = "kvm";
  const { imageDirectory, accelerator } = looked;
  let choice: Awaited<ReturnType<AcceleratorProbe["known"]>>;
  try {
    const image = await openZoneImage(imageDirectory);
    choice = probe
      ? await accelerator.choose(image, version, () => {}, signal)
      : await accelerator.known(image, version);
  } catch (error) {
    signal.throwIfAborted();
    return {
      name,
      result: RESULT_ABSENT,
      message: `cannot tell: ${errorMessage(error)}`,
      advice: "make the zone image first",
    };
  }
  if (!choice) {
    const message = "there is a /dev/kvm, but whether a zone boots with it has not been tried";
    return { name, result: RESULT_WARNING, message, advice: "the first zone tries it, or zonectl doctor --probe" };
  }
  if (choice.accelerator === "kvm") return { name, result: RESULT_OK, message: `zones run on KVM: ${choice.why}` };
  return {
    name,
    result: RESULT_WARNING,
    message: `zones are emulated, which is several times slower: ${choice.why}`,
    advice: "use a host with virtualization (or nested virtualization) turned on, and load kvm_intel or kvm_amd",
  };
}
