import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAgentAddress, serveLinks } from "@zone/link";
import { InitClient } from "@zone/native";
import pino from "pino";
import { Agent } from "./agent.js";
import { shareControllers } from "./cgroup/controllers.js";
import { describe } from "./errors.js";
import { parseKernelCommandLine } from "./kernel-command-line.js";
import type { RawServices } from "./raw-services.js";
import { uptimeMs } from "./system/info.js";
import { LogRing } from "./system/log-ring.js";
import { warmUp } from "./warm-up.js";

/**
 * The agent's entry, and the only place that reads its environment. In a zone PID 1 gives ZONE_CMDLINE and the control
 * socket; the other variables are for tests and development, outside a zone.
 */
const env = process.env;
const runDir = env.ZONE_RUN ?? "/run/zone";
const cgroups = env.ZONE_CGROUPS ?? "/sys/fs/cgroup/zone";
const insideZone = env.ZONE_RUN === undefined;
/** zone_init.h: ZI_CONTROL_FD. */
const CONTROL_FD = 3;
const VERSION = "0.1.0";

const logs = new LogRing();
const log = pino({ base: null, level: env.ZONE_LOG_LEVEL ?? "info" }, logs);

/** The console gets what ends the agent: nobody may be there to read the log. PID 1 starts it again. */
function die(what: string, cause: unknown): never {
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  process.stderr.write(`zone-agent: ${what}: ${text}\n`);
  process.exit(1);
}

process.on("uncaughtException", (error) => die("unexpected error", error));
process.on("unhandledRejection", (error) => die("unexpected error", error));

async function main(): Promise<void> {
  const parameters = parseKernelCommandLine(env.ZONE_CMDLINE ?? "");
  const addresses = parameters.links.map(parseAgentAddress);
  if (addresses.length === 0) throw new Error("the kernel command line names no link: zone.link=serial:zone.link");
  const init = await InitClient.open(CONTROL_FD);
  init.onClose = () => die("PID 1 has closed its control socket", "");

  const hasCgroups = existsSync(join(cgroups, "cgroup.controllers"));
  if (hasCgroups) shareControllers(cgroups);
  const etcMachineId = env.ZONE_MACHINE_ID ?? "/etc/machine-id";
  const agent = await Agent.start({
    version: VERSION,
    ...{ init, log, logs },
    imageVersion: parameters.imageVersion,
    zoneRoot: env.ZONE_ROOT ?? "/",
    template: parameters.template,
    identity: { runDir, etcMachineId: insideZone ? etcMachineId : undefined },
    machineId: existsSync(etcMachineId) ? readFileSync(etcMachineId, "latin1").trim() : "",
    containers: {
      directory: join(runDir, "containers"),
      cgroups: hasCgroups ? cgroups : undefined,
      sysBlock: env.ZONE_SYS_BLOCK ?? "/sys/block",
      dev: env.ZONE_DEV ?? "/dev",
    },
    raiseLoopback: insideZone || env.ZONE_RAISE_LOOPBACK === "1",
    programs: {
      init: env.ZONE_TRUE ?? "/sbin/zone-init",
      crun: env.ZONE_CRUN ?? "/bin/crun",
    },
    loadRawServices: async (services, health): Promise<RawServices> => {
      // Not a literal, so that the bundler leaves it a file of its own beside this one.
      const file = import.meta.url.endsWith(".mjs") ? "./reflection.mjs" : "./reflection.js";
      const lazy = (await import(file)) as typeof import("./reflection.js");
      return lazy.createRawServices(services, health);
    },
  });
  if (parameters.template && init.restarts === 0) {
    agent.warmUp();
    await warmUp(agent.server({ warmUp: true }), [env.ZONE_TRUE ?? "/sbin/zone-init", "--true"]);
  }
  const links = serveLinks(agent.server(), addresses, () => agent.identity(), {
    onEvent: (event) => {
      const error = "error" in event && event.error ? { error: describe(event.error) } : {};
      log.info({ event: event.kind, ...error }, "link");
    },
  });
  await links.ready;
  agent.readyMs = uptimeMs();
  log.info({ version: VERSION, readyMs: agent.readyMs }, "ready");
}

main().catch((error: unknown) => die("cannot start", error));
