import type { Handlers, MountService, zone } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import { unaryHandler } from "../handlers.js";
import { exactInteger } from "../numbers.js";
import { checkId } from "../process/spec.js";
import { checkMount, checkTarget } from "./check-mount.js";
import { checkFiles } from "./file-contents.js";
import { MOUNT_LIMITS } from "./limits.js";
import type { MountedContainer, MountTable } from "./mount-table.js";
import { type MountInfo, utf8 } from "./mountinfo.js";
import type { MountUpkeep } from "./upkeep.js";

/** What names a mount point in every request. */
interface MountPoint {
  containerId?: string | null;
  target?: string | null;
}

/** zone.agent.v1.Mount. `admit` throws when the zone takes no work yet. */
export function mountService(
  mounts: MountTable,
  upkeep: MountUpkeep,
  container: (id: string) => MountedContainer | undefined,
  admit: () => void,
): Handlers<typeof MountService> {
  /** The two names, checked. */
  const at = (point: MountPoint): [containerId: string, target: string] => {
    admit();
    const containerId = checkContainerId(point.containerId);
    return [containerId, checkTarget(point.target ?? "", containerId === "" ? "zone" : "container")];
  };
  return {
    mount: unaryHandler(async (request, signal) => {
      admit();
      const containerId = checkContainerId(request.containerId);
      const mount = checkMount(request.mount ?? {}, containerId === "" ? "zone" : "container");
      if (containerId === "") {
        await mounts.mountZone(mount, signal);
      } else {
        mounts.root(containerId);
        const found = container(containerId);
        if (found) await mounts.mountInto(found, mount, signal);
      }
      return {};
    }),
    unmount: unaryHandler((request) => {
      const { lazy = false, recursive = false } = request;
      mounts.unmount(...at(request), { lazy: lazy ?? false, recursive: recursive ?? false });
      return {};
    }),
    list: unaryHandler((request) => {
      admit();
      const infos = mounts.list(checkContainerId(request.containerId));
      if (infos.length > MOUNT_LIMITS.listedMounts) {
        const message = `there are ${infos.length} mounts; at most ${MOUNT_LIMITS.listedMounts} are listed`;
        throw agentError("RESOURCE_EXHAUSTED", "TOO_MANY_MOUNTS", message);
      }
      return { mounts: infos.map(toMessage) };
    }),
    freeze: unaryHandler(async (request) => {
      await upkeep.freeze(...at(request));
      return {};
    }),
    thaw: unaryHandler(async (request) => {
      await upkeep.thaw(...at(request));
      return {};
    }),
    trim: unaryHandler(async (request) => {
      const minimum = exactInteger(request.minimumBytes);
      if (minimum === undefined) throw invalid("INVALID_MOUNT", "minimum_bytes is larger than can be counted");
      return { trimmedBytes: await upkeep.trim(...at(request), minimum) };
    }),
    stats: unaryHandler((request) => upkeep.stats(...at(request))),
    resize: unaryHandler(async (request) => ({ totalBytes: await upkeep.resize(...at(request)) })),
    updateFiles: unaryHandler((request) => {
      mounts.updateFiles(...at(request), checkFiles(request.files ?? []));
      return {};
    }),
  };
}

function checkContainerId(id: string | null | undefined): string {
  if (id) checkId(id);
  return id ?? "";
}

function toMessage(info: MountInfo): zone.agent.v1.MountInfo.$Properties {
  return {
    ...{ id: info.id, parentId: info.parentId, device: info.device, propagation: [...info.propagation] },
    ...{ root: utf8(info.root), target: utf8(info.target), type: utf8(info.type), source: utf8(info.source) },
    options: info.options.map(utf8),
    fsOptions: info.fsOptions.map(utf8),
  };
}
