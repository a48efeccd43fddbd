import type { ClientReadableStream } from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { expect } from "vitest";
import { type CallOptions, inZone, type TestBridge } from "../harness/bridge.js";
import { argv, type ExecOutcome, exec } from "../harness/exec.js";

/** One case of the surface suite: what is shown of an RPC, and which of its fields. */
export interface Row {
  /** "Mount.Freeze", as in the .proto files; services of the bridge and the agent have different names. */
  rpc: string;
  /** Fields of request messages, by the message's own name: "MountSpec.options". */
  fields: readonly string[];
  kind: "works" | "refused";
  /** Completes "Mount.Freeze ...". */
  name: string;
  run(zone: SurfaceZone): Promise<void>;
}

/** A case in which the RPC does what it says. */
export function works(rpc: string, fields: readonly string[], name: string, run: Row["run"]): Row {
  return { rpc, fields, kind: "works", name, run };
}

/** A case in which the RPC is refused with `reason`, and nothing has changed: `check` looks, after the call. */
export function refused(
  rpc: string,
  fields: readonly string[],
  reason: string,
  name: string,
  call: (zone: SurfaceZone) => Promise<unknown>,
  check?: (zone: SurfaceZone) => Promise<void>,
): Row {
  const run = async (zone: SurfaceZone) => {
    const error = await call(zone).then(
      () => undefined,
      (thrown: unknown) => ZoneError.from(thrown),
    );
    expect(error, "the call must be refused").toBeDefined();
    expect({ reason: error?.reason, says: error?.message !== "" }).toEqual({ reason, says: true });
    await check?.(zone);
  };
  return { rpc, fields, kind: "refused", name: `${name} (${reason})`, run };
}

/** Settles with a stream's first message, and cancels it; rejects with its error. */
export function firstMessage<T>(call: ClientReadableStream<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    call.on("error", reject);
    call.on("data", (message: T) => {
      resolve(message);
      call.cancel();
    });
  });
}

/** A zone that all cases share, one after the other: each leaves it as it was. */
export class SurfaceZone {
  constructor(
    readonly bridge: TestBridge,
    readonly id: string,
  ) {}

  /** Sends a call into the zone. */
  in(options: CallOptions = {}): CallOptions {
    return inZone(this.id, { timeoutMs: 120_000, ...options });
  }

  /** Runs a shell script in the container "main" (or another). */
  sh(script: string, containerId = "main"): Promise<ExecOutcome> {
    return exec(this.bridge, this.id, { containerId, argv: argv("/bin/sh", "-c", script) });
  }

  /** Its standard output, trimmed; the script must succeed. */
  async out(script: string, containerId = "main"): Promise<string> {
    const { code, stdout, stderr } = await this.sh(script, containerId);
    expect({ code, stderr: stderr.toString() }).toEqual({ code: 0, stderr: "" });
    return stdout.toString().trim();
  }

  /** A container of its own for one case, from the zone's image, with a sleeping init; removed afterwards. */
  async withContainer(
    request: Parameters<TestBridge["container"]["create"]>[0],
    use: (id: string) => Promise<void>,
    spec: Record<string, unknown> = {},
  ): Promise<void> {
    const id = request.id ?? "case";
    const rootfs = { blockSerial: "w0", fsType: "erofs" };
    await this.bridge.container.create({ rootfs, ...request, id }, this.in());
    try {
      const init = { id, containerId: id, init: true, argv: argv("/bin/sleep", "100000"), ...spec };
      await this.bridge.process_.start({ spec: init }, this.in());
      await use(id);
    } finally {
      await this.bridge.container.delete({ id, force: true }, this.in());
      await this.bridge.process_.delete({ id }, this.in()).catch(() => {}); // it may never have been started
    }
  }
}
