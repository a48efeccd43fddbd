import { existsSync } from "node:fs";
import { type ContainerService, type Handlers, toTimestamp, type zone } from "@zone/proto";
import { blockSerials } from "../cgroup/block-serials.js";
import { readResources } from "../cgroup/resources.js";
import { admittedBy } from "../handlers.js";
import type { ZoneProcess } from "../process/process.js";
import { type Container, STATES } from "./container.js";
import type { ContainerTable } from "./container-table.js";
import { type ContainerControl, countOomKills, isPaused } from "./control.js";
import { checkContainer } from "./request.js";

export interface ContainerServiceParts {
  containers: ContainerTable;
  control: ContainerControl;
  /** /sys/block */
  sysBlock: string;
  /** The container's init, while it lives. */
  initOf(id: string): ZoneProcess | undefined;
  /** Throws when the zone takes no work yet. */
  admit(): void;
}

/** zone.agent.v1.Container. */
export function containerService(parts: ContainerServiceParts): Handlers<typeof ContainerService> {
  const { containers, control, admit } = parts;
  const nothing = () => ({});
  const admitted = admittedBy(admit);
  return {
    create: admitted(async (request: zone.agent.v1.CreateContainerRequest, signal) => {
      const container = await containers.create(checkContainer(request), signal);
      return { container: { ...basicInfo(container), state: STATES.created, limits: request.limits } };
    }),
    list: admitted(() => ({ containers: [...containers.all].map((container) => fullInfo(container, parts)) })),
    get: admitted(({ id }: zone.agent.v1.GetContainerRequest) => ({
      container: fullInfo(containers.find(id), parts),
    })),
    pause: admitted(({ id }: zone.agent.v1.PauseContainerRequest, signal) => control.pause(id, signal).then(nothing)),
    resume: admitted(({ id }: zone.agent.v1.ResumeContainerRequest, signal) =>
      control.resume(id, signal).then(nothing),
    ),
    update: admitted(({ id, limits }: zone.agent.v1.UpdateContainerRequest) => ({
      limits: control.update(id, limits ?? {}),
    })),
    stats: admitted(({ id }: zone.agent.v1.ContainerStatsRequest) => control.stats(id)),
    kill: admitted(({ id, signal, all }: zone.agent.v1.KillContainerRequest) =>
      control.kill(id, signal, all).then(nothing),
    ),
    delete: admitted(({ id, force }: zone.agent.v1.DeleteContainerRequest) =>
      containers.delete(id, force).then(nothing),
    ),
  };
}

type Info = zone.agent.v1.ContainerInfo.$Properties;

/** What costs no look at anything. */
function basicInfo({ id, hostname, createdAt, oci, annotations }: Container): Info {
  return { id, hostname, createdAt: toTimestamp(createdAt), oci, annotations: { ...annotations } };
}

function fullInfo(container: Container, { sysBlock, initOf }: ContainerServiceParts): Info {
  const { cgroupPath } = container;
  const init = initOf(container.id);
  const running = init?.state.name === "running" ? init.state : undefined;
  return {
    ...basicInfo(container),
    initProcessId: init?.id,
    state: running ? (isPaused(container) ? STATES.paused : STATES.running) : stateWithout(container),
    pid: running?.pid,
    // It may have been removed by somebody else.
    limits: cgroupPath && existsSync(cgroupPath) ? readResources(cgroupPath, blockSerials(sysBlock)) : undefined,
    oomKills: countOomKills(container),
  };
}

/** Of a container whose init does not run. */
function stateWithout({ stopped }: Container): number {
  return stopped ? STATES.stopped : STATES.created;
}
