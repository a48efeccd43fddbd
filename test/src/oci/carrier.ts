import { writeSync } from "node:fs";
import { agent, ZoneError } from "@zone/proto";
import { copyRootOut } from "./root-copy.js";
import { openZone, readSettings } from "./zone.js";

/**
 * Carries a container's output to this process's own stdout and stderr, from before the container's process starts to its end; then
 * brings what the container wrote back into the bundle, and ends. Its pid stands for the container's on this host, as a shim's does.
 * Run as `carrier ID ROOT` with an IPC channel, on which it says when it is attached.
 */
async function carry(id: string, root: string): Promise<void> {
  const zone = openZone(readSettings(process.env));
  try {
    await attach(zone, id);
    await copyRootOut(zone, id, root);
  } finally {
    zone.close();
  }
}

function attach(zone: ReturnType<typeof openZone>, id: string): Promise<void> {
  const descriptors: Record<number, number> = {
    [agent.OutputStream.OUTPUT_STREAM_STDOUT]: 1,
    [agent.OutputStream.OUTPUT_STREAM_STDERR]: 2,
  };
  return new Promise((resolve, reject) => {
    const call = zone.process.attach(zone.options);
    call.on("data", ({ opened, output }) => {
      if (opened) {
        process.send?.("attached");
        if (process.connected) process.disconnect();
      }
      if (!output?.data) return;
      writeAll(descriptors[output.stream ?? 0] ?? 1, output.data);
      call.write({ ack: { stream: output.stream ?? 0, offset: (output.offset ?? 0) + output.data.length } });
    });
    call.on("error", reject);
    call.on("end", resolve);
    call.write({ open: { processId: id } });
  });
}

/** To a file, which is what runtimes are given here. */
function writeAll(fd: number, data: Uint8Array): void {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
}

const [id = "", root = ""] = process.argv.slice(2);
carry(id, root).catch((error) => {
  // The container was deleted with its process still there, or the zone went away: there is nothing more to carry.
  process.exitCode = 1;
  if (process.connected) process.send?.(ZoneError.from(error).message);
});
