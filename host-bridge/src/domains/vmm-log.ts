import { lastLines } from "./console-log.js";
import { tailOf } from "./tail.js";

const TAIL_BYTES = 2048;
/** What QEMU says of every zone without a network. */
const NO_NEWS = /^.*warning: hub \d+ is not connected to host network\n/gm;

/** File in a domain's folder that the VMM's own messages go to. */
export function vmmLogPath(directory: string): string {
  return `${directory}/qemu.log`;
}

/** The last that the VMM printed, for a message to people; empty when that is nothing. */
export async function lastWordsOf(directory: string): Promise<string> {
  const log = (await tailOf(vmmLogPath(directory), TAIL_BYTES)).toString("latin1");
  return lastLines(Buffer.from(log.replace(NO_NEWS, ""), "latin1"), 2);
}
