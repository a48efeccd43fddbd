import { connect } from "node:net";
import type * as grpc from "@grpc/grpc-js";
import { type Handlers, NetworkService, pumpMessages, unimplemented, type zone } from "@zone/proto";
import { failure } from "./rpc.js";
import type { Gates } from "./test-bridge.js";

type Call = grpc.ServerDuplexStream<zone.agent.v1.ForwardRequest, zone.agent.v1.ForwardResponse.$Properties>;

/** Forward alone: what it connects to is on this host. */
export function networkHandlers(
  gates: Pick<Gates, "forward"> = {},
  calls: string[] = [],
): Handlers<typeof NetworkService> {
  return {
    ...unimplemented(NetworkService),
    forward: (call: Call) => {
      call.once("data", ({ open }: zone.agent.v1.ForwardRequest) => {
        call.pause();
        const target = open?.unix ? { path: open.unix.path ?? "" } : { host: "127.0.0.1", port: open?.tcp?.port ?? 0 };
        const socket = connect({ ...target, allowHalfOpen: true });
        const refuse = () => call.emit("error", failure("UNAVAILABLE", "CONNECTION_REFUSED", "refused").toStatus());
        socket.once("error", refuse);
        socket.once("connect", async () => {
          calls.push("forward");
          call.once("end", () => calls.push("forward ended"));
          await gates.forward;
          socket.off("error", refuse);
          call.write({ opened: {} });
          pumpMessages(socket, call).then(
            () => call.end(),
            () => call.end(),
          );
        });
      });
    },
  };
}
