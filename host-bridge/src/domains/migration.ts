import type { QmpEvent } from "./qmp.js";

/**
 * For saving and loading templates: the guest's memory stays where it is (it is a file, mapped), only the devices' state is
 * streamed; and the end is told by an event.
 */
export const MIGRATION_CAPABILITIES = ["x-ignore-shared", "events"].map((capability) => ({ capability, state: true }));

/** The event that ends a migration, well or not (MigrationStatus in qapi/migration.json of QEMU). */
export function migrationIsOver({ name, data }: QmpEvent): boolean {
  return name === "MIGRATION" && (data.status === "completed" || data.status === "failed");
}
