import { randomBytes } from "node:crypto";
import type * as grpc from "@grpc/grpc-js";
import { type Handlers, type ProcessService, ZoneError } from "@zone/proto";
import { type agent, api } from "../messages.js";
import { serveAttach } from "./attach-handler.js";
import { HostProcess } from "./host-process.js";
import { failure, unary } from "./rpc.js";
import type { TestBridge, TestZone } from "./test-bridge.js";

/** zone.agent.v1.Process of the zone that the metadata names. */
export function processHandlers(bridge: TestBridge): Handlers<typeof ProcessService> {
  const zoneOf = (call: { metadata: grpc.Metadata }) => bridge.zone(String(call.metadata.get("zone-id")[0] ?? ""));
  const find = (call: { metadata: grpc.Metadata }, id: string): HostProcess => {
    const found = zoneOf(call).processes.get(id);
    if (!found) throw failure("NOT_FOUND", "PROCESS_UNKNOWN", `no process '${id}'`);
    return found;
  };
  const make = (zone: TestZone, spec: agent.ProcessSpec.$Properties): HostProcess => {
    const made = new HostProcess(spec.id || randomBytes(6).toString("hex"), spec);
    zone.processes.set(made.id, made);
    return made;
  };
  const unimplemented = unary(bridge.calls, "unimplemented", async () => {
    throw failure("UNIMPLEMENTED", "UNIMPLEMENTED", "not in the test bridge");
  });
  return {
    start: unary(bridge.calls, "process.start", async ({ spec }, call) => {
      const made = make(running(zoneOf(call)), spec ?? {});
      made.start();
      if (made.failure) throw failure("NOT_FOUND", made.failure.reason, made.failure.message);
      return { process: { id: made.id } };
    }),
    attach: (call) => {
      bridge.calls.push("attach");
      bridge.attachments.add(call);
      const forget = () => void bridge.attachments.delete(call);
      call.on("cancelled", forget).on("close", forget).on("finish", forget);
      call.once("data", (message: agent.AttachRequest) => {
        try {
          const open = message.open ?? {};
          const target = open.spec ? make(running(zoneOf(call)), open.spec) : find(call, open.processId ?? "");
          if (bridge.dropBeforeOpened) {
            bridge.dropBeforeOpened = false;
            bridge.drop();
            void bridge.listen();
          } else serveAttach(call, target, open);
        } catch (thrown) {
          call.emit("error", ZoneError.from(thrown).toStatus());
        }
      });
    },
    signal: unary(bridge.calls, "signal", async ({ id, signal }, call) => {
      find(call, id).signal(signal);
      return {};
    }),
    list: unary(bridge.calls, "process.list", async (_request, call) => ({
      tasks: [...zoneOf(call).processes.values()].map((one, index) => ({
        pid: one.pid,
        containerPid: index + 1,
        uid: 0,
        state: "S",
        cpuMs: 3_723_000,
        rssKib: 2048,
        command: Buffer.concat((one.spec.argv ?? []).flatMap((arg) => [Buffer.from(arg), Buffer.from(" ")])),
      })),
    })),
    delete: unary(bridge.calls, "process.delete", async ({ id }, call) => {
      find(call, id);
      zoneOf(call).processes.delete(id);
      return {};
    }),
    get: unary(bridge.calls, "process.get", async ({ id }, call) => {
      const found = find(call, id);
      const [stdout, stderr] = found.outputs;
      return {
        process: {
          id,
          tty: Boolean(found.spec.tty),
          stdoutBytes: stdout?.bytes.length ?? 0,
          stderrBytes: stderr?.bytes.length ?? 0,
        },
      };
    }),
    wait: unimplemented,
    resizeTty: unimplemented,
    closeStdin: unimplemented,
  };
}

function running(zone: TestZone): TestZone {
  if (zone.message.state === api.ZoneState.ZONE_STATE_RUNNING) return zone;
  throw failure("FAILED_PRECONDITION", "ZONE_NOT_RUNNING", `zone '${zone.message.spec.name}' does not run`);
}
