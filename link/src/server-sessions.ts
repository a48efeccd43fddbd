import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { Duplex } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import { endTogether, WINDOW_BYTES } from "./http2-session.js";

/** Serves a gRPC server on any byte streams. */
export interface SessionServer {
  /** Serves one stream, which the session owns from now on. */
  serve(duplex: Duplex): ServerHttp2Session;
}

/**
 * grpc-js serves a given stream (createConnectionInjector), but gives no access to the HTTP/2 session, which the receive window
 * (its `grpc-node.flow_control_window` is the client's alone) and a keepalive need. This is the one place that looks at a
 * private field of it: the server's map of HTTP/2 servers, to listen for "session". A grpc-js without it is an error here.
 */
export function sessionServer(server: grpc.Server): SessionServer {
  const before = new Set(http2Servers(server));
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const [injected] = http2Servers(server).filter((candidate) => !before.has(candidate));
  if (!injected)
    throw new Error("this version of @grpc/grpc-js keeps its HTTP/2 servers elsewhere: see server-sessions.ts");
  return {
    serve: (duplex) => {
      let begun: ServerHttp2Session | undefined;
      injected.once("session", (session) => {
        begun = session;
      });
      injector.injectConnection(duplex);
      if (!begun) throw new Error("node:http2 began no session on the injected stream");
      endTogether(duplex);
      begun.settings({ initialWindowSize: WINDOW_BYTES });
      begun.setLocalWindowSize(WINDOW_BYTES);
      return begun;
    },
  };
}

function http2Servers(server: grpc.Server): Http2Server[] {
  const servers: unknown = Reflect.get(server, "http2Servers");
  return servers instanceof Map ? [...servers.keys()] : [];
}
