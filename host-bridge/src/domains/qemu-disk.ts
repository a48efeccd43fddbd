/** The id of a disk's device. */
export function diskDevice(serial: string): string {
  return `disk-${serial}`;
}

/**
 * A disk's node in QEMU's block layer, over the file in descriptor set `set`. A writable one keeps what the guest has flushed (the
 * host's cache is used, and synced when the guest says so), gives back what the guest discards, and is locked by QEMU itself for as
 * long as a VMM has it, so that not even another bridge's zone can write to it.
 */
export function diskNode(serial: string, set: number, readOnly: boolean): Record<string, unknown> {
  const access = { "read-only": readOnly, discard: readOnly ? "ignore" : "unmap" };
  const locking = readOnly ? "off" : "on";
  const file = { driver: "file", filename: `/dev/fdset/${set}`, ...access, "auto-read-only": false, locking };
  return { driver: "raw", "node-name": serial, ...access, file };
}

/** device_add's arguments for a disk with that node. */
export function diskDeviceAdd(serial: string): Record<string, unknown> {
  return {
    driver: "virtio-blk-pci",
    id: diskDevice(serial),
    drive: serial,
    serial,
    "disable-legacy": "on",
    ...ERROR_POLICY,
  };
}

/** A full or broken disk of the host's is an I/O error to the guest; QEMU's default would stop the whole zone. */
export const ERROR_POLICY = { werror: "report", rerror: "report" };
