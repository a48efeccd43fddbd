import { mount } from "@zone/native";
import { agentError, describe, errnoOf } from "../errors.js";

/** mount(2) with MOUNT_FAILED. */
export function mountOn(source: string, target: string, type: string, flags: number, data: string): void {
  try {
    mount(source, target, type, flags, data);
  } catch (error) {
    throw mountFailed(source || type || "again", target, error);
  }
}

/** MOUNT_FAILED of a mount(2) or the like that has failed. */
export function mountFailed(source: string, target: string, error: unknown): Error {
  return agentError("INTERNAL", "MOUNT_FAILED", `cannot mount ${source} on ${target}: ${describe(error)}`, {
    metadata: { source, target, errno: errnoOf(error) ?? "" },
    cause: error,
  });
}
