import { ContainerService, type Handlers, toTimestamp, unimplemented, type zone } from "@zone/proto";
import { unaryHandler } from "../handlers.js";
import type { Container, ContainerTable } from "./container-table.js";
import { checkContainer } from "./request.js";

/** zone.agent.v1.Container. `admit` throws when the zone takes no work yet; `initOf` names a container's living init. */
export function containerService(
  containers: ContainerTable,
  initOf: (containerId: string) => string | undefined,
  admit: () => void,
): Handlers<typeof ContainerService> {
  const toInfo = ({ id, hostname, createdAt }: Container): zone.agent.v1.ContainerInfo.$Properties => ({
    ...{ id, hostname },
    initProcessId: initOf(id),
    createdAt: toTimestamp(createdAt),
  });
  return {
    ...unimplemented(ContainerService),
    create: unaryHandler(async (request) => {
      admit();
      return { container: toInfo(await containers.create(checkContainer(request))) };
    }),
    list: unaryHandler(() => {
      admit();
      return { containers: [...containers.all].map(toInfo) };
    }),
    delete: unaryHandler(async (request) => {
      admit();
      await containers.delete(request.id ?? "");
      return {};
    }),
  };
}
