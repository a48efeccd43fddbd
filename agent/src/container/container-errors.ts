import { agentError } from "../errors.js";
import { LIMITS } from "../limits.js";

/** CONTAINER_UNKNOWN */
export function unknownContainer(id: string): Error {
  const name = id.slice(0, LIMITS.idLength);
  return agentError("NOT_FOUND", "CONTAINER_UNKNOWN", `there is no container "${name}"`, {
    resource: { type: "container", name },
  });
}
