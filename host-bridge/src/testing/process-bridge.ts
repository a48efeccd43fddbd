import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { startBridge } from "../bridge.js";
import { portOpener } from "../forward/open-ports.js";
import { readHostDns } from "../zones/name-servers.js";
import { ProcessDriver } from "./process-driver.js";
import { testImages } from "./test-images.js";

// A bridge whose zones are processes, as a program, so that tests can kill it. Usage: process-bridge DIRECTORY [HOLD_MS]
const [, , directory = "", holdMs = "60000"] = process.argv;
const repository = fileURLToPath(new URL("../../..", import.meta.url));

const log = pino({ level: process.env.ZONE_LOG_LEVEL ?? "info" }, pino.destination(2));

const bridge = await startBridge({
  stateDir: join(directory, "state"),
  socketPath: join(directory, "bridge.sock"),
  uid: process.getuid?.() ?? 0,
  members: { uids: [], gids: [65534] },
  log,
  driver: new ProcessDriver({
    directory: join(directory, "domains"),
    init: join(repository, "native/build/zone-init"),
    agent: join(repository, "agent/dist/main.js"),
  }),
  openImages: async () => testImages({ sh: { cmd: ["sh"] }, none: {}, quit: { cmd: ["sh"], stopSignal: "SIGQUIT" } }),
  openPorts: portOpener(log),
  hostDns: () => readHostDns("/etc/resolv.conf"),
  env: process.env,
  host: {
    bridgeVersion: "test",
    pid: process.pid,
    zoneImageVersion: async () => "none",
    hypervisorVersion: async () => "none",
    checks: async () => [],
  },
  isolation: "none",
  holdMs: Number(holdMs),
});
process.once("SIGTERM", () => bridge.close().then(() => process.exit(0)));
process.stdout.write("ready\n");
