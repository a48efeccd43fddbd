import { FileService, type Handlers, unimplemented } from "@zone/proto";

/** zone.agent.v1.File. */
export function fileService(): Handlers<typeof FileService> {
  return unimplemented(FileService);
}
