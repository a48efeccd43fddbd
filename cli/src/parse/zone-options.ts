import { api } from "../messages.js";
import { mergeFiles, parseMount, parseSecret, parseTmpfs, parseVolume } from "./mounts.js";
import { parsePublish } from "./ports.js";
import { parseCpus, parseMemory } from "./quantities.js";
import { parseOomScore, parsePidsLimit, parseSecurity, parseUlimit } from "./security.js";
import { UsageError } from "./usage-error.js";

/** The options of `zonectl run` that say what a zone has and may, as given; see program.ts for what each means. */
export interface ZoneOptions {
  readonly volume: readonly string[];
  readonly mount: readonly string[];
  readonly tmpfs: readonly string[];
  readonly secret: readonly string[];
  readonly publish: readonly string[];
  readonly network?: string;
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOption: readonly string[];
  readonly addHost: readonly string[];
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOpt: readonly string[];
  readonly privileged?: boolean;
  readonly ulimit: readonly string[];
  readonly pidsLimit?: string;
  readonly init?: boolean;
  readonly shmSize?: string;
  readonly device: readonly string[];
  readonly groupAdd: readonly string[];
  readonly sysctl: readonly string[];
  readonly oomScoreAdj?: string;
  readonly memoryLimit?: string;
  readonly maxMemory?: string;
  readonly maxCpus?: string;
}

/** Those options as the fields of a ZoneSpec. Paths are relative to `directory`. */
export function zoneOptions(options: ZoneOptions, directory: string): api.ZoneSpec.$Properties {
  const { dns, dnsSearch, dnsOption } = options;
  const network = options.network === undefined ? undefined : networkMode(options.network);
  return {
    mounts: [
      ...options.volume.map((text) => parseVolume(text, directory)),
      ...options.mount.map((text) => parseMount(text, directory)),
      ...options.tmpfs.map(parseTmpfs),
      ...mergeFiles(options.secret.map((text) => parseSecret(text, directory))),
    ],
    ports: options.publish.flatMap(parsePublish),
    network: { mode: network, nameservers: [...dns], searches: [...dnsSearch], options: [...dnsOption] },
    extraHosts: options.addHost.map(checkHost),
    capAdd: [...options.capAdd],
    capDrop: [...options.capDrop],
    security: parseSecurity(options.securityOpt, options.privileged ?? false, directory),
    ulimits: options.ulimit.map(parseUlimit),
    pidsLimit: options.pidsLimit === undefined ? 0 : parsePidsLimit(options.pidsLimit),
    init: options.init ?? false,
    shmBytes: options.shmSize === undefined ? 0 : parseMemory(options.shmSize),
    devices: [...options.device],
    groupAdd: [...options.groupAdd],
    sysctls: [...options.sysctl],
    oomScoreAdj: options.oomScoreAdj === undefined ? 0 : parseOomScore(options.oomScoreAdj),
    memoryLimitBytes: options.memoryLimit === undefined ? 0 : parseMemory(options.memoryLimit),
    maxMemoryBytes: options.maxMemory === undefined ? 0 : parseMemory(options.maxMemory),
    maxCpus: options.maxCpus === undefined ? 0 : Math.ceil(parseCpus(options.maxCpus) / 1000),
  };
}

function networkMode(name: string): api.Network.Mode {
  if (name === "none") return api.Network.Mode.MODE_NONE;
  if (name === "user") return api.Network.Mode.MODE_USER;
  throw new UsageError(`invalid network '${name}': 'user' and 'none' are there`);
}

function checkHost(text: string): string {
  if (/^[^:=]+[:=].+$/.test(text)) return text.replace(/[:=]/, ":");
  throw new UsageError(`invalid host '${text}': give NAME:ADDRESS`);
}
