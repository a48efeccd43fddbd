import * as grpc from "@grpc/grpc-js";
import { clientOver, memoryDuplexPair } from "@zone/link";
import { ContainerService, createClient, ProcessService, SystemService, ZoneError } from "@zone/proto";
import { collectGarbage } from "./memory.js";

const ID = "warm-up";
const TIMEOUT_MS = 60_000;

/**
 * Runs the whole path of an exec once, from a client's bytes to a process's exit, so that what a clone of this zone runs
 * first has been loaded and compiled by V8 before the template is saved. `server` must take work; it ends with the call.
 * `argv` is a program that ends at once. Throws when any of it does not work: such a template must not be cloned.
 */
export async function warmUp(server: grpc.Server, argv: readonly string[]): Promise<void> {
  const [ours, theirs] = memoryDuplexPair();
  server.createConnectionInjector(grpc.ServerCredentials.createInsecure()).injectConnection(theirs);
  const client = clientOver(ours);
  try {
    const processes = createClient(ProcessService, client);
    await createClient(SystemService, client).info({}, { timeoutMs: TIMEOUT_MS });
    const call = processes.attach({ timeoutMs: TIMEOUT_MS });
    const exited = new Promise<number | undefined>((resolve, reject) => {
      let code: number | undefined;
      call.on("data", ({ exit, failed }) => {
        if (exit) code = exit.code ?? 0;
        if (failed) reject(new Error(failed.message ?? ""));
      });
      call.on("end", () => resolve(code));
      call.on("error", (error: unknown) => reject(ZoneError.from(error)));
    });
    call.write({ open: { spec: { id: ID, argv: argv.map((text) => Buffer.from(text)), stdin: true }, stdin: true } });
    call.write({ stdinEof: {} });
    const code = await exited;
    call.end();
    if (code !== 0) throw new Error(`${argv.join(" ")} has ended with ${code}`);
    await processes.wait({ id: ID }, { timeoutMs: TIMEOUT_MS });
    await processes.delete({ id: ID }, { timeoutMs: TIMEOUT_MS });
    await refuseContainer(client);
  } finally {
    client.close();
    server.forceShutdown();
  }
  // A clone shares the template's memory until it is written: what is free now is never copied.
  collectGarbage();
}

/** The first steps of Container.Create, with a disk that does not exist. */
async function refuseContainer(client: grpc.Client): Promise<void> {
  const rootfs = { blockSerial: ID, fsType: "erofs", waitMs: 1 };
  try {
    await createClient(ContainerService, client).create({ id: ID, rootfs }, { timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (ZoneError.from(error).reason !== "DEVICE_NOT_FOUND") throw error;
  }
}
