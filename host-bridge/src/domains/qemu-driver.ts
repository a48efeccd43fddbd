import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { closeFd, memfd, memfdFromFile } from "@zone/native";
import { ZoneError } from "@zone/proto";
import type { WantedAccelerator } from "./accelerator.js";
import { AcceleratorProbe } from "./accelerator-probe.js";
import { adoptCompanions, endCompanions } from "./companions.js";
import { connectionChecks } from "./connection-checks.js";
import { EndWitness } from "./domain-end.js";
import { type DomainState, readState } from "./domain-state.js";
import type { Domain, DomainConfig, DomainDriver, DomainRecord, ProgressFn, WarmUp } from "./driver.js";
import { FileClaims } from "./file-claims.js";
import { DEFAULT_UID_BASE, Identities } from "./identities.js";
import { type LaunchOptions, launch } from "./launch.js";
import type { LaunchSpec, MachineShape } from "./machine-config.js";
import { machineRoom } from "./machine-room.js";
import { mebibytes, socketPaths } from "./qemu-args.js";
import { type Check, qemuChecks } from "./qemu-checks.js";
import { diskDevice } from "./qemu-disk.js";
import { QemuDomain } from "./qemu-domain.js";
import { adoptVmm } from "./qemu-process.js";
import { QemuVersion } from "./qemu-version.js";
import { connectWhenThere, QmpClient } from "./qmp.js";
import { VIRTIOFSD } from "./shares.js";
import { removeStrays } from "./strays.js";
import { type LaunchHost, Surroundings } from "./surroundings.js";
import { checkMemory } from "./template-build.js";
import { Templates } from "./templates.js";
import { openZoneImage } from "./zone-image.js";

/** A running QEMU answers its monitor in a millisecond. */
const ADOPT_MS = 10_000;

export interface QemuDriverOptions {
  /** Templates and what is known of KVM are kept here. */
  stateDirectory: string;
  /** Domains' sockets: a short path, on a tmpfs. */
  runDirectory: string;
  /** A zone image's folder, or a symlink to it. */
  imageDirectory: string;
  warmUp: WarmUp;
  accelerator?: WantedAccelerator;
  /** QEMU's program. */
  binary?: string;
  /** The programs that carry a zone's network, and its shares. */
  passt?: string;
  virtiofsd?: string;
  /** Users of VMMs are this one and the 65,535 after it; needs root. */
  uidBase?: number;
  /** For a template's agent to be ready. */
  bootTimeoutMs?: number;
  /** Templates that stay in memory while no zone is being made of them. */
  cachedTemplates?: number;
}

/** Domains that are QEMU processes, on KVM or emulated, cloned from templates unless asked otherwise. */
export class QemuDriver implements DomainDriver {
  readonly name = "qemu";
  readonly #imageDirectory: string;
  readonly #host: LaunchHost;
  readonly #version: QemuVersion;
  readonly #templates: Templates;
  readonly #probe: AcceleratorProbe;
  /** Folders of domains that live or are being made. */
  readonly #known = new Set<string>();
  #swept: Promise<void> | undefined;

  constructor(options: QemuDriverOptions) {
    const { stateDirectory, runDirectory, binary = "qemu-system-x86_64" } = options;
    const root = process.getuid?.() === 0;
    this.#imageDirectory = options.imageDirectory;
    this.#host = {
      binary,
      passt: options.passt ?? "passt",
      virtiofsd: options.virtiofsd ?? VIRTIOFSD,
      claims: new FileClaims(),
      domainsDirectory: join(runDirectory, "domains"),
      identities: root ? new Identities(options.uidBase ?? DEFAULT_UID_BASE) : undefined,
    };
    this.#version = new QemuVersion(binary);
    const start = (spec: LaunchSpec, signal: AbortSignal) => this.#launch(spec, { signal });
    this.#templates = new Templates({
      directory: join(stateDirectory, "templates"),
      launch: start,
      warmUp: options.warmUp,
      files: { memfd, memfdFromFile, closeFd },
      bootTimeoutMs: options.bootTimeoutMs ?? 180_000,
      cached: options.cachedTemplates ?? 4,
    });
    this.#probe = new AcceleratorProbe({
      wanted: options.accelerator ?? "auto",
      cachePath: join(stateDirectory, "accelerator.json"),
      launch: start,
    });
  }

  async create(config: DomainConfig, progress: ProgressFn, signal: AbortSignal): Promise<Domain> {
    checkMemory(config.memoryBytes);
    this.#swept ??= removeStrays(this.#host.domainsDirectory, this.#known);
    await this.#swept;
    const [image, qemuVersion] = await Promise.all([openZoneImage(this.#imageDirectory), this.#version.get()]);
    const { accelerator } = await this.#probe.choose(image, qemuVersion, progress, signal);
    const memoryBytes = mebibytes(config.memoryBytes) * 2 ** 20;
    const { id, disks, vcpus, cold, shares = [], network = { kind: "none" }, maxVcpus = vcpus } = config;
    const maxMemoryBytes = config.maxMemoryBytes ?? memoryBytes;
    const room = machineRoom({ memoryBytes, vcpus }, { memoryBytes: maxMemoryBytes, vcpus: maxVcpus });
    const shape: MachineShape = { accelerator, memoryBytes, vcpus, room };
    const spec = { id, shape, image, disks, shares, network, maxMemoryBytes, maxVcpus };
    const tell = (message: string) => progress("boot", message);
    if (cold) return this.#launch({ ...spec, start: { kind: "boot" } }, { signal, tell });
    const clone = () => this.#clone(spec, qemuVersion, progress, { signal, tell });
    try {
      return await clone();
    } catch (error) {
      if (!(error instanceof ZoneError) || error.reason !== "TEMPLATE_UNUSABLE") throw error;
      progress("template", `making the template again: ${error.message}`);
      await this.#templates.discard(image, shape, qemuVersion);
      return clone();
    }
  }

  async adopt(record: DomainRecord): Promise<Domain | undefined> {
    const { directory, uid } = record;
    const vmm = await adoptVmm(record.pid, record.pidStartTime);
    const state = await readState(directory);
    const companions = await adoptCompanions(state?.companions ?? []);
    if (!vmm) {
      await endCompanions(companions);
      await rm(directory, { recursive: true, force: true });
      return undefined;
    }
    const around = new Surroundings(this.#host, directory, this.#host.identities && { uid, gid: uid }, companions);
    around.claim();
    const paths = socketPaths(directory);
    const witness = new EndWitness();
    try {
      const timeout = AbortSignal.timeout(ADOPT_MS);
      const socket = await connectWhenThere(paths.qmp, ADOPT_MS, timeout);
      const qmp = await QmpClient.open(socket, { timeoutMs: ADOPT_MS });
      const console = await connectWhenThere(paths.console, ADOPT_MS, timeout);
      const { claims } = this.#host;
      const kept = await adoptedState(qmp, state);
      for (const { file, readOnly, path } of kept.disks) claims.take(file, readOnly, path);
      const domain = new QemuDomain({ record, cloned: false, vmm, qmp, witness, console, around, claims, state: kept });
      this.#know(domain);
      await domain.keepState();
      return domain;
    } catch {
      // It lives but cannot be controlled: as good as gone, which undefined tells.
      await vmm.kill();
      await vmm.exited();
      await around.remove();
      return undefined;
    }
  }

  /** QEMU's version; NO_HYPERVISOR. */
  version(): Promise<string> {
    return this.#version.get();
  }

  /** What doctor says of QEMU, KVM, network and shares; with `probe`, KVM is tried when that has not been done here. */
  async checks(probe: boolean, signal: AbortSignal): Promise<Check[]> {
    const known = { version: this.#version, imageDirectory: this.#imageDirectory, accelerator: this.#probe };
    return [...(await qemuChecks(known, probe, signal)), ...(await connectionChecks(this.#host))];
  }

  async #clone(
    spec: Omit<LaunchSpec, "start">,
    qemuVersion: string,
    progress: ProgressFn,
    options: LaunchOptions,
  ): Promise<QemuDomain> {
    const template = await this.#templates.get(spec.image, spec.shape, qemuVersion, progress, options.signal);
    try {
      const { memoryFd, stateFd } = template;
      return await this.#launch({ ...spec, start: { kind: "clone", memoryFd, stateFd } }, options);
    } finally {
      template.release();
    }
  }

  async #launch(spec: LaunchSpec, options: LaunchOptions): Promise<QemuDomain> {
    await mkdir(this.#host.domainsDirectory, { recursive: true, mode: 0o711 });
    const directory = join(this.#host.domainsDirectory, spec.id);
    this.#known.add(directory);
    try {
      const domain = await launch(this.#host, spec, options);
      this.#know(domain);
      return domain;
    } catch (error) {
      this.#known.delete(directory);
      throw error;
    }
  }

  #know(domain: QemuDomain): void {
    const { directory } = domain.record;
    this.#known.add(directory);
    domain.ended.then(() => this.#known.delete(directory));
  }
}

/** What is kept of a domain, less the disks that have gone since; of a domain that an earlier version made, nothing is. */
async function adoptedState(qmp: QmpClient, kept: DomainState | undefined): Promise<DomainState> {
  const nothing = { memoryBytes: 0, maxMemoryBytes: 0, maxVcpus: 0, sharedMemory: false };
  const none = { disks: [], network: undefined, shares: [], companions: [] };
  const state: DomainState = kept ?? { version: 1, ...nothing, ...none };
  const devices = await qmp.execute("qom-list", { path: "/machine/peripheral" });
  const names = new Set(Array.isArray(devices) ? devices.map((device: { name?: unknown }) => device.name) : []);
  return { ...state, disks: state.disks.filter(({ serial }) => names.has(diskDevice(serial))) };
}
