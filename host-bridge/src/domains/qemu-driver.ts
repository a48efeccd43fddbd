import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { closeFd, memfd, memfdFromFile } from "@zone/native";
import { ZoneError } from "@zone/proto";
import type { WantedAccelerator } from "./accelerator.js";
import { AcceleratorProbe } from "./accelerator-probe.js";
import { EndWitness } from "./domain-end.js";
import type { Domain, DomainConfig, DomainDriver, DomainRecord, ProgressFn, WarmUp } from "./driver.js";
import { DEFAULT_UID_BASE, Identities } from "./identities.js";
import { type LaunchHost, launch } from "./launch.js";
import type { LaunchSpec, MachineShape } from "./machine-config.js";
import { mebibytes, socketPaths } from "./qemu-args.js";
import { type Check, qemuChecks } from "./qemu-checks.js";
import { QemuDomain } from "./qemu-domain.js";
import { adoptVmm } from "./qemu-process.js";
import { QemuVersion } from "./qemu-version.js";
import { connectWhenThere, QmpClient } from "./qmp.js";
import { removeStrays } from "./strays.js";
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
      domainsDirectory: join(runDirectory, "domains"),
      identities: root ? new Identities(options.uidBase ?? DEFAULT_UID_BASE) : undefined,
    };
    this.#version = new QemuVersion(binary);
    const start = (spec: LaunchSpec, signal: AbortSignal) => this.#launch(spec, signal);
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
    const shape: MachineShape = { accelerator, memoryBytes, vcpus: config.vcpus };
    const { id, disks } = config;
    if (config.cold) return this.#launch({ id, shape, image, disks, start: { kind: "boot" } }, signal);
    const clone = () => this.#clone({ id, shape, image, disks }, qemuVersion, progress, signal);
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
    if (!vmm) {
      await rm(directory, { recursive: true, force: true });
      return undefined;
    }
    this.#host.identities?.claim(uid);
    const paths = socketPaths(directory);
    const witness = new EndWitness();
    try {
      const timeout = AbortSignal.timeout(ADOPT_MS);
      const socket = await connectWhenThere(paths.qmp, ADOPT_MS, timeout);
      const qmp = await QmpClient.open(socket, { timeoutMs: ADOPT_MS, onEvent: (event) => witness.event(event) });
      const console = await connectWhenThere(paths.console, ADOPT_MS, timeout);
      const domain = new QemuDomain({ record, cloned: false, vmm, qmp, witness, console });
      this.#know(domain);
      domain.ended.then(() => this.#host.identities?.release(uid));
      return domain;
    } catch {
      // It lives but cannot be controlled: as good as gone, which undefined tells.
      await vmm.kill();
      await vmm.exited();
      await rm(directory, { recursive: true, force: true });
      this.#host.identities?.release(uid);
      return undefined;
    }
  }

  /** QEMU's version; NO_HYPERVISOR. */
  version(): Promise<string> {
    return this.#version.get();
  }

  /** What doctor says of QEMU and KVM; with `probe`, KVM is tried when that has not been done here. */
  checks(probe: boolean, signal: AbortSignal): Promise<Check[]> {
    const known = { version: this.#version, imageDirectory: this.#imageDirectory, accelerator: this.#probe };
    return qemuChecks(known, probe, signal);
  }

  async #clone(
    spec: Omit<LaunchSpec, "start">,
    qemuVersion: string,
    progress: ProgressFn,
    signal: AbortSignal,
  ): Promise<QemuDomain> {
    const template = await this.#templates.get(spec.image, spec.shape, qemuVersion, progress, signal);
    try {
      const { memoryFd, stateFd } = template;
      return await this.#launch({ ...spec, start: { kind: "clone", memoryFd, stateFd } }, signal);
    } finally {
      template.release();
    }
  }

  async #launch(spec: LaunchSpec, signal: AbortSignal): Promise<QemuDomain> {
    await mkdir(this.#host.domainsDirectory, { recursive: true, mode: 0o711 });
    const directory = join(this.#host.domainsDirectory, spec.id);
    this.#known.add(directory);
    try {
      const domain = await launch(this.#host, spec, signal);
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
