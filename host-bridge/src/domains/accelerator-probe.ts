import { cpus, release } from "node:os";
import { bridgeError } from "../errors.js";
import { SharedWork } from "../shared-work.js";
import {
  type AcceleratorChoice,
  chooseAccelerator,
  type KnownOptions,
  KVM_DEVICE,
  knownAccelerator,
  type WantedAccelerator,
} from "./accelerator.js";
import type { ProgressFn } from "./driver.js";
import type { LaunchSpec } from "./machine-config.js";
import type { QemuDomain } from "./qemu-domain.js";
import type { ZoneImage } from "./zone-image.js";

const PROBE_MS = 20_000;
const PROBE_MEMORY_BYTES = 256 << 20;

export interface ProbeOptions {
  wanted: WantedAccelerator;
  cachePath: string;
  launch: (spec: LaunchSpec, signal: AbortSignal) => Promise<QemuDomain>;
}

/** Finds out once which accelerator zones run with. */
export class AcceleratorProbe {
  readonly #options: ProbeOptions;
  readonly #work = new SharedWork<AcceleratorChoice>();

  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /** The accelerator; boots a zone with KVM (seconds) when that has not been tried here. */
  async choose(
    image: ZoneImage,
    qemuVersion: string,
    progress: ProgressFn,
    signal: AbortSignal,
  ): Promise<AcceleratorChoice> {
    const known = this.#knownOptions(image, qemuVersion);
    return (
      (await knownAccelerator(known)) ??
      this.#work.join(known.cacheKey, progress, signal, (tell, stop) => {
        tell("boot", "trying whether KVM works here");
        return chooseAccelerator(known, () => this.#boot(image, stop), stop);
      })
    );
  }

  /** As far as it is known without booting anything. */
  known(image: ZoneImage, qemuVersion: string): Promise<AcceleratorChoice | undefined> {
    return knownAccelerator(this.#knownOptions(image, qemuVersion));
  }

  #knownOptions(image: ZoneImage, qemuVersion: string): KnownOptions {
    const { wanted, cachePath } = this.#options;
    const cacheKey = [release(), cpus()[0]?.model, qemuVersion, image.version].join(" / ");
    return { wanted, kvmDevice: KVM_DEVICE, cachePath, cacheKey };
  }

  /** Settles when a guest on KVM has opened its link: kernel, PID 1 and agent have run. */
  async #boot(image: ZoneImage, signal: AbortSignal): Promise<void> {
    const size = { memoryBytes: PROBE_MEMORY_BYTES, vcpus: 1 };
    const shape = { accelerator: "kvm", ...size, room: size } as const;
    const domain = await this.#options.launch(
      { id: "probe", shape, image, disks: [], start: { kind: "boot" } },
      signal,
    );
    try {
      const opened = domain.monitor.event(
        "a probe",
        ({ name, data }) => name === "VSERPORT_CHANGE" && data.open === true,
        PROBE_MS,
      );
      const ended = domain.ended.then((end): never => {
        throw bridgeError("FAILED_PRECONDITION", "BOOT_FAILED", "message" in end ? end.message : `it was ${end.cause}`);
      });
      const stop = () => void domain.destroy();
      signal.addEventListener("abort", stop, { once: true });
      try {
        await Promise.all([Promise.race([opened, ended]), domain.resume()]);
      } finally {
        signal.removeEventListener("abort", stop);
        ended.catch(() => {});
        opened.catch(() => {});
      }
    } finally {
      await domain.destroy();
    }
  }
}
