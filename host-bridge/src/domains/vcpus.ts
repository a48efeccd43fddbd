import { bridgeError } from "../errors.js";
import { hotplugFailed } from "./plugged-disks.js";
import type { QmpClient } from "./qmp.js";

/** HotpluggableCPU in qapi/machine.json of QEMU. */
interface Slot {
  type: string;
  props: Record<string, unknown>;
  "qom-path"?: string;
}

/** Makes at least `count` vCPUs be there; answers with how many are. Those that were added are taken out again when one fails. */
export async function setVcpus(qmp: QmpClient, maxVcpus: number, count: number): Promise<number> {
  if (!Number.isInteger(count) || count < 1 || count > maxVcpus)
    throw bridgeError("INVALID_ARGUMENT", "INVALID_CPUS", `this zone can have 1 to ${maxVcpus} vCPUs, not ${count}`);
  const answer = await qmp.execute("query-hotpluggable-cpus");
  const slots = Array.isArray(answer) ? (answer as Slot[]) : [];
  const present = slots.filter((slot) => slot["qom-path"] !== undefined).length;
  // In the order of their numbers, as the kernel counts them.
  const free = slots.filter((slot) => slot["qom-path"] === undefined).sort((a, b) => number(a) - number(b));
  const added: string[] = [];
  try {
    for (const slot of free.slice(0, Math.max(0, count - present))) {
      const id = `vcpu-${number(slot)}`;
      await qmp.execute("device_add", { driver: slot.type, id, ...slot.props });
      added.push(id);
    }
  } catch (error) {
    for (const id of added) await qmp.execute("device_del", { id });
    throw hotplugFailed(`vCPU ${present + added.length + 1} cannot be plugged in`, error);
  }
  if (present + added.length < count)
    throw bridgeError("FAILED_PRECONDITION", "HOTPLUG_FAILED", `the machine has room for ${slots.length} vCPUs only`);
  return present + added.length;
}

function number({ props }: Slot): number {
  const part = (name: string) => (typeof props[name] === "number" ? props[name] : 0);
  return part("socket-id") * 2 ** 16 + part("core-id") * 2 ** 8 + part("thread-id");
}
