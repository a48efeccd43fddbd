import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type * as grpc from "@grpc/grpc-js";
import {
  ContainerService,
  createClient,
  MountService,
  NetworkService,
  ProcessService,
  SystemService,
  toTimestamp,
  ZoneError,
} from "@zone/proto";
import type { Domain, DomainEnd, ProgressFn } from "../domains/driver.js";
import { bridgeError } from "../errors.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { NO_EXIT_CODE, type Timings, type ZoneEnd } from "./life.js";
import { domainConfig, MAIN, mainContainer } from "./main-spec.js";
import type { MountPlan } from "./mount-plan.js";
import { networkRequest } from "./name-servers.js";
import { type RunListener, RunningZone } from "./running-zone.js";
import { hostnameOf } from "./spec.js";
import type { ZoneContext } from "./zone-context.js";

/** From the domain's start to the agent's first answer; a cold boot without KVM on a busy host takes tens of seconds. */
const BOOT_TIMEOUT_MS = 120_000;
/** Of each step after that. */
const STEP_TIMEOUT_MS = 60_000;
const ENTROPY_BYTES = 64;
/** How far a zone's clock may be behind when its workload starts, unless the host is so busy that no call is faster. */
const CLOCK_SLACK_MS = 400;
const CLOCK_TRIES = 3;

export interface LaunchOptions {
  /** Leave the main process CREATED. */
  hold: boolean;
  mounts: MountPlan;
  progress: ProgressFn;
  signal: AbortSignal;
  /** Called with the domain before it is resumed; it is not resumed before that settles. */
  onDomain: (domain: Domain) => Promise<void>;
  listener: RunListener;
}

/**
 * Makes a zone's domain and starts its main process: domain, link, identity, network, container, process, each with one round
 * trip.
 * Leaves nothing when it fails.
 */
export async function launch(
  record: ZoneRecord,
  context: ZoneContext,
  options: LaunchOptions,
): Promise<{ run: RunningZone; timings: Timings }> {
  const began = performance.now();
  const elapsed = () => performance.now() - began;
  const image = await context.images.find(record.imageDigest);
  if (!image) {
    throw bridgeError("NOT_FOUND", "IMAGE_UNKNOWN", `the image of zone ${record.name} is gone: make the zone anew`);
  }
  const { disks, shares } = options.mounts;
  const config = domainConfig(record.id, record.spec, { rootPath: image.diskPath, disks, shares });
  const domain = await context.driver.create(config, options.progress, options.signal);
  const log = context.log.child({ zone: record.id });
  let run: RunningZone | undefined;
  try {
    const { clocks, zonesDir } = context;
    const { listener } = options;
    run = await RunningZone.open({
      directory: join(zonesDir, record.id),
      id: record.id,
      domain,
      listener,
      clocks,
      log,
    });
    const { link } = run;
    const steps = async (): Promise<Timings> => {
      await options.onDomain(domain);
      await domain.resume();
      const domainStarted = elapsed();
      if (!domain.cloned) options.progress("boot", "booting the zone's kernel");
      const client = await agentClient(link.client(options.signal, BOOT_TIMEOUT_MS));
      const agentReady = elapsed();
      const took = await startMain(client, domain, record, context, options);
      log.debug({ domainStarted, agentReady, ...took }, "zone started");
      return { domainStarted, agentReady, mainStarted: elapsed() };
    };
    return { run, timings: await whileAlive(domain, steps()) };
  } catch (thrown) {
    await run?.saveConsole();
    await domain.destroy();
    await run?.letGo();
    throw options.signal.aborted ? cancelled(options.signal) : thrown;
  }
}

async function agentClient(ready: Promise<grpc.Client>): Promise<grpc.Client> {
  try {
    return await ready;
  } catch (thrown) {
    const { message } = ZoneError.from(thrown);
    throw bridgeError("FAILED_PRECONDITION", "BOOT_FAILED", `the zone did not boot: ${message}`, undefined, thrown);
  }
}

async function startMain(
  client: grpc.Client,
  domain: Domain,
  record: ZoneRecord,
  context: ZoneContext,
  options: LaunchOptions,
): Promise<Record<string, number>> {
  const call = { timeoutMs: STEP_TIMEOUT_MS, signal: options.signal };
  const took: Record<string, number> = {};
  const timed = async (step: string, work: Promise<unknown>) => {
    const began = performance.now();
    await work;
    took[step] = Math.round(performance.now() - began);
  };
  const renewal = {
    time: toTimestamp(Date.now()),
    entropy: randomBytes(ENTROPY_BYTES),
    machineId: record.id,
    hostname: hostnameOf(record.spec),
    instanceId: record.id,
  };
  const system = createClient(SystemService, client);
  await timed("renewed", system.renew(renewal, call));
  // The clock is behind by what the call took; a clone's first call is slow. The next one is not.
  for (let tries = 0; tries < CLOCK_TRIES && (took.clock ?? took.renewed ?? 0) > CLOCK_SLACK_MS; tries++) {
    await timed("clock", system.setTime({ time: toTimestamp(Date.now()) }, call));
  }
  const contained = context.isolation === "container";
  if (contained) {
    const network = networkRequest(record.spec, domain.networkFacts(), await context.hostDns());
    if (network) await timed("network", createClient(NetworkService, client).configure(network, call));
    const mounts = options.mounts.mounts(domain.shareFacts());
    const container = mainContainer(record.spec, mounts);
    await timed("container", createClient(ContainerService, client).create(container, call));
    await growVolumes(client, record, context, call);
  }
  // Outside a VM the agent may not have all capabilities, which a process of the zone itself would get.
  const spec = contained ? record.main : { ...record.main, containerId: "", init: false, capabilities: {} };
  await timed("main", createClient(ProcessService, client).start({ spec, hold: options.hold }, call));
  return took;
}

/** Grows the file systems of volumes whose files have grown while they were not mounted. */
async function growVolumes(
  client: grpc.Client,
  { volumes }: ZoneRecord,
  context: ZoneContext,
  call: { timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  for (const { volume, target, readOnly } of volumes ?? []) {
    if (readOnly || !context.volumes.isGrown(volume)) continue;
    await createClient(MountService, client).resize({ containerId: MAIN, target }, call);
    await context.volumes.noteGrown(volume);
  }
}

/** What `steps` settle with, unless the domain ends before. */
async function whileAlive<T>(domain: Domain, steps: Promise<T>): Promise<T> {
  const died = domain.ended.then((end) => {
    const message = `the zone ended while it was being started: ${endMessage(end)}`;
    throw bridgeError("FAILED_PRECONDITION", "BOOT_FAILED", message);
  });
  steps.catch(() => {}); // when the domain is first, what the steps say about it is no news
  return Promise.race([steps, died]);
}

/** How a domain ended, for people. */
export function endMessage(end: DomainEnd): string {
  switch (end.cause) {
    case "powered-off":
      return "it powered itself off";
    case "panicked":
      return `its kernel panicked: ${end.message}`;
    case "lost":
      return end.message;
    case "destroyed":
      return "it was destroyed";
  }
}

function cancelled(signal: AbortSignal): ZoneError {
  if (signal.reason instanceof ZoneError) return signal.reason;
  return new ZoneError({
    code: "CANCELLED",
    reason: "CANCELLED",
    domain: "zone.bridge",
    message: "the start was cancelled",
  });
}

/** The end of a zone that could not be started, with what a shell would answer for its main process. */
export function startFailure({ reason, message }: ZoneError): ZoneEnd {
  const codes: Record<string, number> = { EXEC_NOT_FOUND: 127, CWD_NOT_FOUND: 127, EXEC_NOT_EXECUTABLE: 126 };
  return { cause: "start-failed", message, exitCode: codes[reason] ?? NO_EXIT_CODE };
}
