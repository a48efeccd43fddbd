import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { zone } from "@zone/proto";
import { agentError, errnoOf, invalid } from "../errors.js";
import { parseSysctlName } from "../system/sysctl-names.js";
import { CONTAINER_LIMITS } from "./limits.js";
import type { NamespaceSpec } from "./namespaces.js";

/** A kernel parameter of a container's. */
export interface SysctlSetting {
  name: string;
  /** Below /proc/sys. */
  file: string;
  value: string;
  /** Whose it is: of the ipc namespace, or of the network, which is the zone's. */
  scope: "ipc" | "network";
}

/** Throws INVALID_SYSCTL, or SYSCTL_NOT_ALLOWED for what is the zone's or another container's. */
export function checkSysctls(
  sysctls: readonly zone.agent.v1.Sysctl.$Properties[],
  namespaces: NamespaceSpec,
): SysctlSetting[] {
  const { sysctls: most, sysctlValueBytes } = CONTAINER_LIMITS;
  if (sysctls.length > most) throw invalid("INVALID_SYSCTL", `${sysctls.length} sysctls; at most ${most} are taken`);
  return sysctls.map(({ name, value }) => {
    const parsed = parseSysctlName(name ?? "");
    if (!parsed) throw invalid("INVALID_SYSCTL", `"${(name ?? "").slice(0, 80)}" is no name of a sysctl`);
    const text = value ?? "";
    if (!/^[\t -~]*$/.test(text) || text.length > sysctlValueBytes)
      throw invalid("INVALID_SYSCTL", `the value of ${parsed.name} is not one line of ASCII`);
    if (parsed.scope === "zone") throw notAllowed(parsed.name, "it is the zone's, not a container's");
    if (parsed.scope === "ipc" && namespaces.ipc === "container")
      throw notAllowed(parsed.name, "the ipc namespace is another container's");
    return { name: parsed.name, file: parsed.file, value: text, scope: parsed.scope };
  });
}

/** Sets those of the network. Throws INVALID_SYSCTL when the kernel does not have one or refuses the value. */
export function setNetworkSysctls(settings: readonly SysctlSetting[], procSys = "/proc/sys"): void {
  for (const { name, file, value, scope } of settings) {
    if (scope !== "network") continue;
    try {
      writeFileSync(join(procSys, file), value, { flag: "r+" });
    } catch (error) {
      throw refusedSysctl(name, value, errnoOf(error) ?? "");
    }
  }
}

/** INVALID_SYSCTL for what the kernel has answered to a value. */
export function refusedSysctl(name: string, value: string, errno: string): Error {
  const why = errno === "ENOENT" ? "this kernel does not have it" : `the kernel refuses "${value}" (${errno})`;
  return invalid("INVALID_SYSCTL", `${name} cannot be set: ${why}`);
}

function notAllowed(name: string, why: string): Error {
  return agentError("PERMISSION_DENIED", "SYSCTL_NOT_ALLOWED", `sysctl ${name} cannot be set: ${why}`, {
    resource: { type: "sysctl", name },
  });
}
