import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bridgeError, errorMessage } from "./errors.js";

const ACCELERATORS = ["auto", "kvm", "tcg"] as const;
const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
/** A Unix socket's path, with its NUL, fits in 108 bytes; unix(7). */
const MAX_SOCKET_PATH = 107;

export const USAGE = `Usage: zone-bridge [options]

Keeps zones on this host, and serves zone.bridge.v1 and zone.agent.v1 on a Unix socket.

  --state-dir DIR      zones, images, templates, logs   (ZONE_STATE_DIR, /var/lib/zone-bridge)
  --run-dir DIR        bridge.sock, sockets of zones    (ZONE_RUN_DIR, /run/zone-bridge)
  --image-dir DIR      the zone image                   (ZONE_IMAGE_DIR, .cache/image/current of the repository)
  --accelerator WHICH  auto, kvm or tcg                 (ZONE_ACCELERATOR, auto: KVM where a zone boots with it)
  --log-level LEVEL    ${LOG_LEVELS.join(", ")}  (ZONE_LOG_LEVEL, info)
  --allow-uid UID      this user may use the bridge too, and its own zones; more than one may be given  (ZONE_ALLOW_UIDS)
  --allow-gid GID      as --allow-uid, for a group; the first one owns the socket                     (ZONE_ALLOW_GIDS)
  --help, --version
`;

export interface BridgeOptions {
  stateDir: string;
  runDir: string;
  imageDir: string;
  accelerator: (typeof ACCELERATORS)[number];
  logLevel: (typeof LOG_LEVELS)[number];
  allowUids: number[];
  allowGids: number[];
}

/** From arguments, then the environment. "help" and "version" when asked for. Throws INVALID_OPTION. */
export function parseOptions(args: string[], env: NodeJS.ProcessEnv): BridgeOptions | "help" | "version" {
  const { values } = parse(args);
  if (values.help) return "help";
  if (values.version) return "version";
  const options = {
    stateDir: resolve(values["state-dir"] ?? (env.ZONE_STATE_DIR || "/var/lib/zone-bridge")),
    runDir: resolve(values["run-dir"] ?? (env.ZONE_RUN_DIR || "/run/zone-bridge")),
    imageDir: resolve(values["image-dir"] ?? (env.ZONE_IMAGE_DIR || defaultImageDir())),
    accelerator: oneOf(ACCELERATORS, "--accelerator", values.accelerator ?? (env.ZONE_ACCELERATOR || "auto")),
    logLevel: oneOf(LOG_LEVELS, "--log-level", values["log-level"] ?? (env.ZONE_LOG_LEVEL || "info")),
    allowUids: idsOf("--allow-uid", values["allow-uid"] ?? listOf(env.ZONE_ALLOW_UIDS)),
    allowGids: idsOf("--allow-gid", values["allow-gid"] ?? listOf(env.ZONE_ALLOW_GIDS)),
  };
  if (Buffer.byteLength(socketPath(options.runDir)) > MAX_SOCKET_PATH - ".new".length) {
    throw invalid(
      `--run-dir ${options.runDir} is too long: sockets in it would have paths of more than ${MAX_SOCKET_PATH} bytes`,
    );
  }
  return options;
}

/** Where the bridge listens. */
export function socketPath(runDir: string): string {
  return `${runDir}/bridge.sock`;
}

function parse(args: string[]) {
  const text = { type: "string" } as const;
  const texts = { type: "string", multiple: true } as const;
  const flag = { type: "boolean" } as const;
  const directories = { "state-dir": text, "run-dir": text, "image-dir": text };
  const rest = {
    accelerator: text,
    "log-level": text,
    "allow-uid": texts,
    "allow-gid": texts,
    help: flag,
    version: flag,
  };
  try {
    return parseArgs({ args, options: { ...directories, ...rest }, strict: true, allowPositionals: false });
  } catch (thrown) {
    throw invalid(errorMessage(thrown));
  }
}

/** REPO/.cache/image/current, from REPO/host-bridge/build/zone-bridge.mjs or REPO/host-bridge/dist/main.js. */
function defaultImageDir(): string {
  return fileURLToPath(new URL("../../.cache/image/current", import.meta.url));
}

function oneOf<T extends string>(allowed: readonly T[], option: string, value: string): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw invalid(`${option} ${value}: give one of ${allowed.join(", ")}`);
  return found;
}

function listOf(text: string | undefined): string[] {
  return (text ?? "").split(",").filter((each) => each.trim() !== "");
}

function idsOf(option: string, texts: string[]): number[] {
  return texts.map((text) => {
    const id = Number(text);
    if (!/^\d{1,10}$/.test(text.trim()) || id > 0xffff_fffe) throw invalid(`${option} ${text}: give a number`);
    return id;
  });
}

function invalid(message: string) {
  return bridgeError("INVALID_ARGUMENT", "INVALID_OPTION", message);
}
