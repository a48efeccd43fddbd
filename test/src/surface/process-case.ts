import { agent } from "@zone/proto";
import { argv } from "../harness/exec.js";
import { type AttachOpen, attached } from "./attached.js";
import type { SurfaceZone } from "./row.js";

export type Spec = NonNullable<AttachOpen["spec"]>;
const { PROCESS_STATE_RUNNING } = agent.ProcessState;

/** A spec of a shell script in the container "main"; the process is called "case". */
export const shell = (script: string, spec: Spec = {}): Spec => ({
  ...{ id: "case", containerId: "main", argv: argv("/bin/sh", "-c", script) },
  ...spec,
});
/** What the agent says of it. */
export const get = async (zone: SurfaceZone, id = "case") =>
  (await zone.bridge.process_.get({ id }, zone.in())).process;

/** Starts a process for one case; afterwards it is killed where it still runs, and deleted. */
export async function withProcess(
  zone: SurfaceZone,
  spec: Spec,
  use: () => Promise<void>,
  hold = false,
): Promise<void> {
  await zone.bridge.process_.start({ spec, hold }, zone.in());
  try {
    await use();
  } finally {
    await forget(zone);
  }
}

/** Kills it where it still runs, and deletes it. */
export async function forget(zone: SurfaceZone, id = "case"): Promise<void> {
  if ((await get(zone, id))?.state === PROCESS_STATE_RUNNING) {
    await zone.bridge.process_.signal({ id, signal: 9, group: true }, zone.in());
    await zone.bridge.process_.wait({ id }, zone.in());
  }
  await zone.bridge.process_.delete({ id }, zone.in());
}

/** Runs a spec to its end by an Attach; the process is deleted. */
export async function run(zone: SurfaceZone, spec: Spec, react?: Parameters<typeof attached>[2]) {
  const outcome = await attached(zone, { spec, stdin: spec.stdin ?? false }, react);
  await forget(zone);
  return outcome;
}

/** A container for processes that leave others behind: the init of "main" does not reap them. */
export function withReaper(zone: SurfaceZone, use: (containerId: string) => Promise<void>): Promise<void> {
  return zone.withContainer({ id: "reaped" }, use, { reaper: true });
}
