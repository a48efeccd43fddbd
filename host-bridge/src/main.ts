import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { pino } from "pino";
import { hostChecks } from "./api/doctor.js";
import { startBridge } from "./bridge.js";
import { QemuDriver } from "./domains/qemu-driver.js";
import { openZoneImage } from "./domains/zone-image.js";
import { portOpener } from "./forward/open-ports.js";
import { openImageStore } from "./images/store.js";
import { type BridgeOptions, parseOptions, socketPath, USAGE } from "./options.js";
import { BRIDGE_VERSION } from "./version.js";
import { readHostDns } from "./zones/name-servers.js";
import { warmUp } from "./zones/warm-up.js";

/** A wrong option, or what keeps the bridge from starting. */
const FAILURE = 1;
const USAGE_ERROR = 2;

/** Everything is put together here; nothing else in the bridge knows QEMU, the environment or the process. */
async function main(options: BridgeOptions, env: NodeJS.ProcessEnv): Promise<void> {
  const { stateDir, runDir, imageDir } = options;
  // grpc-js prints metadata that it cannot take, which a zone may have chosen.
  setLogVerbosity(logVerbosity.NONE);
  const log = pino(
    { level: options.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination(2),
  );
  const uid = process.getuid?.() ?? 0;
  await mkdir(stateDir, { recursive: true, mode: 0o711 });
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  const driver = new QemuDriver({
    stateDirectory: stateDir,
    runDirectory: runDir,
    imageDirectory: imageDir,
    warmUp,
    accelerator: options.accelerator,
  });
  const bridge = await startBridge({
    stateDir,
    socketPath: socketPath(runDir),
    uid,
    members: { uids: options.allowUids, gids: options.allowGids },
    log,
    openImages: () => openImageStore({ directory: join(stateDir, "images"), env }),
    openPorts: portOpener(log),
    hostDns: () => readHostDns("/etc/resolv.conf"),
    env,
    driver,
    host: {
      bridgeVersion: BRIDGE_VERSION,
      pid: process.pid,
      zoneImageVersion: () => openZoneImage(imageDir).then(({ version }) => version, whenMissing),
      hypervisorVersion: () => driver.version().then((version) => `QEMU ${version}`, whenMissing),
      checks: async (probe, signal) => [
        ...(await hostChecks({ stateDir, imageDir, uid, path: env.PATH ?? "" })),
        ...(await driver.checks(probe, signal)),
      ],
    },
  });
  let ending = false;
  const end = (signal: string) => {
    if (ending) return;
    ending = true;
    log.info({ signal }, "zone-bridge ends");
    bridge.close().then(
      () => process.exit(0),
      (error) => {
        log.error({ err: error }, "zone-bridge could not end in order");
        process.exit(FAILURE);
      },
    );
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => end(signal));
}

/** Version tells what there is; what is wrong with what is not, doctor tells. */
function whenMissing(error: unknown): string {
  if (error instanceof ZoneError) return "";
  throw error;
}

try {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === "help") process.stdout.write(USAGE);
  else if (options === "version") process.stdout.write(`${BRIDGE_VERSION}\n`);
  else await main(options, process.env);
} catch (thrown) {
  const error = ZoneError.from(thrown);
  process.stderr.write(`zone-bridge: ${error.message}\n`);
  process.exit(error.reason === "INVALID_OPTION" ? USAGE_ERROR : FAILURE);
}
