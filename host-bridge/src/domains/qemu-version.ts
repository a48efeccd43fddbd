import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { bridgeError, errorMessage } from "../errors.js";

/** QEMU's version with its package's, such as "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)". FAILED_PRECONDITION/NO_HYPERVISOR. */
export async function qemuVersion(binary: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(binary, ["--version"], { timeout: 30_000, maxBuffer: 64 * 1024 });
    const version = /^QEMU emulator version (.+)$/m.exec(stdout)?.[1];
    if (!version) throw new Error(`${binary} --version does not answer as QEMU does`);
    return version.trim();
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw bridgeError(
      "FAILED_PRECONDITION",
      "NO_HYPERVISOR",
      missing
        ? `there is no ${binary}: install it with apt-get install qemu-system-x86`
        : `QEMU is not usable: ${errorMessage(error)}`,
      { type: "hypervisor", name: "qemu" },
      error,
    );
  }
}

/** The version of one program, asked once: an upgrade shows in templates that do not load any more. */
export class QemuVersion {
  readonly #binary: string;
  #known: Promise<string> | undefined;

  constructor(binary: string) {
    this.#binary = binary;
  }

  /** Errors as of `qemuVersion`; after one it is asked again. */
  async get(): Promise<string> {
    this.#known ??= qemuVersion(this.#binary);
    try {
      return await this.#known;
    } catch (error) {
      this.#known = undefined;
      throw error;
    }
  }
}
