import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";

/** FAILED_PRECONDITION/HOTPLUG_UNSUPPORTED. */
export function unsupported(what: string): ZoneError {
  return bridgeError("FAILED_PRECONDITION", "HOTPLUG_UNSUPPORTED", `this kind of domain cannot ${what} while it runs`);
}
