import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { bridge, type zone } from "@zone/proto";
import { hostTool } from "./host-tools.js";
import { hostRoutes, type Routes } from "./network.js";

type Check = zone.bridge.v1.Check.$Properties;

const { RESULT_OK, RESULT_WARNING } = bridge.Check.Result;
/** As VMMs and their companions are started. */
const PATH = "/usr/bin:/bin";

/** The checks of what connects zones with the host, for doctor. */
export async function connectionChecks(programs: { passt: string; virtiofsd: string }): Promise<Check[]> {
  return [networkCheck(await found(programs.passt), await hostRoutes()), sharesCheck(await found(programs.virtiofsd))];
}

/** Of the network that zones have by default. */
export function networkCheck(passt: string | undefined, { four, six }: Routes): Check {
  const name = "network";
  if (!passt)
    return {
      name,
      result: RESULT_WARNING,
      message: "there is no passt: only zones without a network can be started",
      advice: "apt-get install passt",
    };
  if (!hostTool("zone-frame-filter"))
    return {
      name,
      result: RESULT_WARNING,
      message: "zone-frame-filter is missing: only zones without a network can be started",
      advice: "make -C native",
    };
  if (!four && !six)
    return {
      name,
      result: RESULT_WARNING,
      message: "this host has no default route: zones that start now have no network",
      advice: "connect the host, and start the zones again",
    };
  const families = [...(four ? ["IPv4"] : []), ...(six ? ["IPv6"] : [])].join(" and ");
  return { name, result: RESULT_OK, message: `${passt}, ${families}` };
}

function sharesCheck(virtiofsd: string | undefined): Check {
  const name = "virtiofsd";
  if (virtiofsd) return { name, result: RESULT_OK, message: virtiofsd };
  const message = "there is no virtiofsd: folders of the host cannot be shared with zones";
  return { name, result: RESULT_WARNING, message, advice: "apt-get install qemu-system-common" };
}

async function found(program: string): Promise<string | undefined> {
  const candidates = program.includes("/") ? [program] : PATH.split(delimiter).map((folder) => join(folder, program));
  for (const path of candidates) {
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return path;
  }
  return undefined;
}
