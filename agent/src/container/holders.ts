import { getSystemErrorName } from "node:util";
import type { Namespace, NamespaceChoice } from "@zone/native";
import type { Tools } from "../process/tools.js";
import { refusedSysctl, type SysctlSetting } from "./sysctls.js";

/** The name of the holder of the pod's namespaces. */
export const POD = "pod";
const POD_NAMESPACES: readonly Namespace[] = ["pid", "ipc", "uts"];

/** The holder of one container's ipc namespace. */
export function ipcHolder(containerId: string): string {
  return `ipc:${containerId}`;
}

export interface HolderPrograms {
  /** "/sbin/zone-init" */
  init: string;
}

/** What `zone-init --sysctl` says of the first that was refused. */
const REFUSED = /^zone-init: (\S+): .* \(errno (\d+)\)$/m;
const OUTPUT_BYTES = 1024;
const TIMEOUT_MS = 60_000;

/**
 * Processes that do nothing but hold namespaces, for as long as somebody needs them: those of the pod, and of a container
 * whose ipc namespace must be there, with its sysctls set, before the container's init is.
 */
export class NamespaceHolders {
  readonly #tools: Tools;
  readonly #programs: HolderPrograms;

  constructor(tools: Tools, programs: HolderPrograms) {
    this.#tools = tools;
    this.#programs = programs;
  }

  /** The token of the process that holds `name`; it is started when there is none. */
  hold(name: string): Promise<bigint> {
    const create = name === POD ? POD_NAMESPACES : (["ipc"] as const);
    return this.#tools.service(name, [this.#programs.init, "--pause"], { namespaces: { create } });
  }

  drop(name: string): void {
    this.#tools.stop(name);
  }

  /** Sets those of an ipc namespace in the one that `name` holds. INVALID_SYSCTL. */
  async setIpcSysctls(name: string, settings: readonly SysctlSetting[]): Promise<void> {
    const own = settings.filter(({ scope }) => scope === "ipc");
    if (own.length === 0) return;
    const join: NamespaceChoice = { create: [], join: { token: await this.hold(name), which: ["ipc"] } };
    const argv = [this.#programs.init, "--sysctl", ...own.map(({ name, value }) => `${name}=${value}`)];
    const { code, signal, output } = await this.#tools.run(argv, {
      ...{ namespaces: join, outputBytes: OUTPUT_BYTES, timeoutMs: TIMEOUT_MS },
    });
    if (code === 0 && signal === 0) return;
    const [, refusedName, errno] = REFUSED.exec(output) ?? [];
    const refused = own.find((setting) => setting.name === refusedName);
    if (refused) throw refusedSysctl(refused.name, refused.value, getSystemErrorName(-Number(errno)));
    throw new Error(`sysctls cannot be set: zone-init --sysctl has ended with ${code}/${signal}: ${output}`);
  }
}
