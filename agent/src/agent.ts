import { dirname, join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import type { AgentIdentity } from "@zone/link";
import type { InitClient } from "@zone/native";
import {
  CgroupService,
  ContainerService,
  FileService,
  MountService,
  NetworkService,
  ProcessService,
  SystemService,
} from "@zone/proto";
import type { Logger } from "pino";
import { CgroupTree } from "./cgroup/cgroup-tree.js";
import { OomLog } from "./cgroup/oom-log.js";
import { cgroupService } from "./cgroup/service.js";
import { type CgroupNews, CgroupWatcher } from "./cgroup/watcher.js";
import type { ContainerTableOptions } from "./container/container-table.js";
import { rewriteEtcFiles } from "./container/etc-files.js";
import { containerService } from "./container/service.js";
import { agentError, describe } from "./errors.js";
import { fileService } from "./file/service.js";
import { IdleCollector } from "./memory.js";
import { MountTable } from "./mount/mount-table.js";
import { mountService } from "./mount/service.js";
import { MountUpkeep } from "./mount/upkeep.js";
import { Forwarding } from "./network/forward/forwarding.js";
import { ZoneNames } from "./network/names.js";
import { networkService } from "./network/service.js";
import { ZoneFiles } from "./network/zone-files.js";
import { ZoneNetwork } from "./network/zone-network.js";
import { processService } from "./process/service.js";
import { addRawServices, type Health, type RawServices } from "./raw-services.js";
import { EventHub } from "./system/event-hub.js";
import { type Identity, type IdentityPaths, type Renewal, readIdentity, renew } from "./system/identity.js";
import { bootId, initStartedMs } from "./system/info.js";
import type { LogRing } from "./system/log-ring.js";
import { systemService } from "./system/service.js";
import type { ZoneEvent } from "./system/zone-event.js";
import { Workload, type WorkloadOptions } from "./workload.js";

/** What the agent is made of; main.ts chooses it. */
export interface AgentOptions {
  version: string;
  imageVersion: string;
  /** Booted to be cloned: no work is taken before Renew. */
  template: boolean;
  init: InitClient;
  log: Logger;
  logs: LogRing;
  identity: IdentityPaths;
  /** Machine id of a zone that was never renewed. */
  machineId: string;
  /** What the File service calls the zone's root. */
  zoneRoot: string;
  containers: Pick<ContainerTableOptions, "directory" | "cgroups" | "sysBlock" | "dev">;
  /** What the agent itself runs in the zone. */
  programs: WorkloadOptions["programs"];
  /** Whether the loopback is to be brought up when it is not. */
  raiseLoopback: boolean;
  /** Imports reflection.ts. */
  loadRawServices(services: readonly string[], health: Health): Promise<RawServices>;
}

const SERVICES = ["Process", "Container", "Mount", "Cgroup", "Network", "File", "System"].map(
  (name) => `zone.agent.v1.${name}`,
);

/** The agent: its tables, and servers of its services. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #events = new EventHub<ZoneEvent>(Date.now);
  readonly #cgroupNews = new EventHub<CgroupNews>(Date.now);
  readonly #cgroups: CgroupTree;
  readonly #cgroupWatcher: CgroupWatcher | undefined;
  readonly #workload: Workload;
  readonly #mounts: MountTable;
  readonly #upkeep: MountUpkeep;
  readonly #names: ZoneNames;
  readonly #network: ZoneNetwork;
  readonly #forwarding: Forwarding;
  readonly #collector = new IdleCollector();
  readonly #healthWatchers = new Set<() => void>();
  /** What a Renew in this boot has given. */
  #renewed: Identity | undefined;
  /** Milliseconds from the kernel's start to when links are served. */
  readyMs = 0;

  private constructor(options: AgentOptions) {
    const { init, log } = options;
    this.#options = options;
    this.#renewed = readIdentity(options.identity);
    const { cgroups: root, sysBlock } = options.containers;
    const trouble = (message: string) => log.warn(message);
    if (root !== undefined) this.#cgroupWatcher = new CgroupWatcher(root, new OomLog(), this.#onCgroupNews, trouble);
    this.#cgroups = new CgroupTree({
      ...{ root, sysBlock },
      isContainer: (id) => this.#workload.containers.get(id) !== undefined,
      made: (path) => this.#cgroupWatcher?.watch(path),
      removed: (path) => this.#cgroupWatcher?.forget(path),
      now: Date.now,
    });
    this.#names = new ZoneNames(join(options.identity.runDir, "names.json"));
    this.#network = new ZoneNetwork(this.#names);
    const { runDir, etcMachineId } = options.identity;
    const zoneFiles = new ZoneFiles(runDir, etcMachineId === undefined ? undefined : dirname(etcMachineId));
    this.#names.onChange = () => {
      zoneFiles.write(this.#names);
      rewriteEtcFiles(options.containers.directory, this.#names, (path, error) =>
        log.warn({ path, error: describe(error) }, "names not rewritten"),
      );
    };
    const initPid = (id: string) => {
      const init = this.#workload.processes.initOf(id)?.state;
      return init?.name === "running" ? init.pid : undefined;
    };
    this.#mounts = new MountTable({
      ...{ runDir, sysBlock, dev: options.containers.dev, initPid },
      container: (id) => this.#workload.containers.get(id),
    });
    this.#upkeep = new MountUpkeep(this.#mounts, trouble);
    this.#workload = new Workload({
      ...{ init, log, runDir, programs: options.programs, events: this.#events, cgroups: this.#cgroups },
      containers: { ...options.containers, names: this.#names, mounts: this.#mounts },
      watchCgroup: (id) => this.#cgroupWatcher?.watch(id),
      forgetCgroup: (id) => this.#cgroupWatcher?.forget(id),
      processEnded: () => this.#collector.processEnded(),
    });
    this.#forwarding = new Forwarding((id) => this.#workload.containers.rootOf(id));
  }

  /** Makes the agent, and takes up what an earlier one left when it was restarted. */
  static async start(options: AgentOptions): Promise<Agent> {
    const agent = new Agent(options);
    await agent.#workload.containers.recover();
    agent.#mounts.recover();
    agent.#upkeep.recover();
    if (options.raiseLoopback) await agent.#raiseLoopback();
    for (const path of agent.#cgroups.paths()) agent.#cgroupWatcher?.watch(path);
    if (options.init.restarts > 0) {
      const taken = agent.#workload.processes.recover(await options.init.list());
      options.log.warn({ restarts: options.init.restarts, processes: taken }, "the agent was restarted");
    }
    return agent;
  }

  /** Does beforehand what the first work would have to wait for. */
  warmUp(): void {
    this.#workload.warmUp();
  }

  /** An agent without a network is still of use. */
  async #raiseLoopback(): Promise<void> {
    try {
      await this.#network.raiseLoopback();
    } catch (error) {
      this.#options.log.warn({ error: describe(error) }, "the loopback is not up");
    }
  }

  /** Who it is, for the link's handshake. */
  identity(): AgentIdentity {
    const { version } = this.#options;
    const instanceId = this.#renewed?.instanceId ?? "";
    // Clones share the kernel's boot id; a renewed one is told apart by what Renew gave it.
    return { zoneId: instanceId, bootId: instanceId || bootId(), agentVersion: version };
  }

  /** Whether work is taken: not in a template before Renew. */
  get #admits(): boolean {
    return !this.#options.template || this.#renewed !== undefined;
  }

  /** A server of all services; `warmUp` takes work before Renew, and is for warm-up.ts alone. */
  server({ warmUp = false } = {}): grpc.Server {
    const admit = () => {
      if (warmUp || this.#admits) return;
      throw agentError(
        "FAILED_PRECONDITION",
        "ZONE_NOT_RENEWED",
        "the zone is a template's: it takes no work before System.Renew",
      );
    };
    const server = new grpc.Server();
    server.addService(ProcessService, processService(this.#workload.processes, admit));
    const { processes, containers, control } = this.#workload;
    const { sysBlock } = this.#options.containers;
    const initOf = (id: string) => processes.initOf(id);
    server.addService(ContainerService, containerService({ containers, control, sysBlock, initOf, admit }));
    server.addService(
      MountService,
      mountService(this.#mounts, this.#upkeep, (id) => this.#workload.containers.get(id), admit),
    );
    server.addService(CgroupService, cgroupService(this.#cgroups, this.#cgroupNews, admit));
    server.addService(
      NetworkService,
      networkService({ network: this.#network, names: this.#names, forwarding: this.#forwarding }, admit),
    );
    const { zoneRoot } = this.#options;
    server.addService(
      FileService,
      fileService({ zoneRoot, rootOf: (id) => this.#workload.containers.rootOf(id), admit }),
    );
    server.addService(SystemService, this.#systemService());
    let raw: Promise<RawServices> | undefined;
    const load = () => {
      raw ??= this.#options.loadRawServices(SERVICES, (service) => this.#health(service));
      return raw;
    };
    addRawServices(server, load, (changed) => {
      this.#healthWatchers.add(changed);
      return () => this.#healthWatchers.delete(changed);
    });
    return server;
  }

  readonly #onCgroupNews = (news: CgroupNews): void => {
    this.#cgroupNews.publish(news);
    const [id = ""] = news.path.split("/");
    const container = this.#workload.containers.get(id);
    if (!news.oomKill || !container) return;
    const { count, victims } = news.oomKill;
    this.#workload.outOfMemory(container, count ?? 0);
    this.#options.log.warn({ container: id, count, victims: victims?.map(({ pid }) => pid) }, "out of memory");
    this.#events.publish({ containerOom: { id, count, victims } });
  };

  #systemService() {
    const { version, imageVersion, init, log, logs, machineId, template } = this.#options;
    return systemService({
      agentVersion: version,
      imageVersion,
      restarts: init.restarts,
      startup: () => ({ initStartedMs: initStartedMs(), agentReadyMs: this.readyMs }),
      identity: () => this.#renewed ?? { machineId: template ? "" : machineId, instanceId: "" },
      renew: (renewal) => this.#renew(renewal),
      events: this.#events,
      logs,
      memoryChanged: (totalBytes) => this.#cgroups.resize(totalBytes),
      powerOff: (graceMs) => {
        log.info({ graceMs }, "shutting down");
        init.powerOff(graceMs);
      },
    });
  }

  #renew(renewal: Renewal): number {
    const adjusted = renew(renewal, this.#options.identity);
    const { machineId, instanceId } = renewal;
    this.#renewed = { machineId, instanceId };
    this.#options.log.info({ instance: instanceId, clockAdjustedMs: adjusted }, "zone renewed");
    for (const changed of this.#healthWatchers) changed();
    return adjusted;
  }

  #health(service: string): boolean | undefined {
    if (service === "" || service === "zone.agent.v1.System") return true;
    return SERVICES.includes(service) ? this.#admits : undefined;
  }
}
