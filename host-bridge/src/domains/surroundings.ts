import { chown, mkdir, rm, stat } from "node:fs/promises";
import { closeFd } from "@zone/native";
import { bridgeError, errorMessage } from "../errors.js";
import { KVM_DEVICE, kvmGroup } from "./accelerator.js";
import { type Companion, endCompanions } from "./companions.js";
import type { AttachedDisk } from "./domain-state.js";
import type { NetworkFacts } from "./driver.js";
import { type FileClaims, fileIdentity } from "./file-claims.js";
import type { Identities } from "./identities.js";
import type { LaunchSpec } from "./machine-config.js";
import { openUserNetwork } from "./network.js";
import { checkSerial } from "./plugged-disks.js";
import { type Accelerator, socketPaths } from "./qemu-args.js";
import type { Identity } from "./qemu-process.js";
import { serveShares } from "./shares.js";

/** What domains need of the host. */
export interface LaunchHost {
  /** QEMU's program, and those that serve it. */
  binary: string;
  passt: string;
  virtiofsd: string;
  /** Folders of domains are made here. */
  domainsDirectory: string;
  /** Undefined when the bridge is not root: VMMs run as its own user. */
  identities: Identities | undefined;
  claims: FileClaims;
}

/** What a domain has on the host beside its VMM: a folder, a user, claims on files, processes that serve it. */
export class Surroundings {
  readonly directory: string;
  readonly identity: Identity | undefined;
  readonly companions: Companion[];
  /** Undefined without a network. */
  facts: NetworkFacts | undefined;
  readonly shareSockets: string[] = [];
  /** Files that are this domain's, until its VMM knows them. */
  claimed: Pick<AttachedDisk, "file" | "readOnly" | "path" | "serial">[] = [];
  readonly #host: LaunchHost;
  #networkFd: number | undefined;
  #removed: Promise<void> | undefined;

  /** Makes them; leaves nothing when it fails. `tell` says what the domain does without. */
  static async make(host: LaunchHost, spec: LaunchSpec, tell: (message: string) => void): Promise<Surroundings> {
    const directory = `${host.domainsDirectory}/${spec.id}`;
    checkSocketPaths(directory);
    const around = new Surroundings(host, directory, await vmmIdentity(host, spec.shape.accelerator));
    try {
      await around.#make(spec, tell);
      return around;
    } catch (error) {
      await around.remove();
      throw error;
    }
  }

  constructor(host: LaunchHost, directory: string, identity: Identity | undefined, companions: Companion[] = []) {
    this.#host = host;
    this.directory = directory;
    this.identity = identity;
    this.companions = companions;
  }

  /** Takes the users of a domain that runs already. */
  claim(): void {
    const users = [...this.companions.map(({ record }) => record.uid), ...(this.identity ? [this.identity.uid] : [])];
    for (const uid of users) this.#host.identities?.claim(uid);
  }

  /** The end of the network that the VMM inherits. */
  get networkFd(): number | undefined {
    return this.#networkFd;
  }

  /** The VMM has it, or never will: while anybody else has it too, its end would go unnoticed. */
  closeNetworkFd(): void {
    if (this.#networkFd !== undefined) closeFd(this.#networkFd);
    this.#networkFd = undefined;
  }

  /** From now on the folder is the bridge's alone, so that the VMM cannot put another socket in the place of its own. */
  async takeFolder(): Promise<void> {
    if (this.identity) await chown(this.directory, 0, 0);
  }

  /** Ends and removes all of it, once. */
  remove(): Promise<void> {
    this.#removed ??= this.#remove();
    return this.#removed;
  }

  async #remove(): Promise<void> {
    this.closeNetworkFd();
    await endCompanions(this.companions);
    await rm(this.directory, { recursive: true, force: true });
    for (const { file, readOnly } of this.claimed.splice(0)) this.#host.claims.release(file, readOnly);
    for (const { record } of this.companions) this.#host.identities?.release(record.uid);
    if (this.identity) this.#host.identities?.release(this.identity.uid);
  }

  async #make(spec: LaunchSpec, tell: (message: string) => void): Promise<void> {
    await mkdir(this.directory, { mode: 0o700, recursive: false });
    for (const disk of spec.disks) await this.#claim(disk);
    if (spec.network?.kind === "user") {
      const network = await openUserNetwork(this.#host, this.directory);
      if (network) {
        this.#networkFd = network.fd;
        this.facts = network.facts;
        this.companions.push(...network.companions);
      } else {
        tell("this host has no default route: the zone has no network");
      }
    }
    const { virtiofsd } = this.#host;
    for (const { socket, companion } of await serveShares(
      virtiofsd,
      this.directory,
      spec.shares ?? [],
      this.identity,
    )) {
      this.shareSockets.push(socket);
      this.companions.push(companion);
    }
    if (this.identity) await chown(this.directory, this.identity.uid, this.identity.gid);
  }

  async #claim({ path, serial, readOnly = true }: LaunchSpec["disks"][number]): Promise<void> {
    checkSerial(serial);
    const found = await stat(path).catch((cause) => {
      const message = `cannot open ${path} for a zone: ${errorMessage(cause)}`;
      throw bridgeError("INTERNAL", "FILE_UNREADABLE", message, undefined, cause);
    });
    const file = fileIdentity(found);
    this.#host.claims.take(file, readOnly, path);
    this.claimed.push({ file, readOnly, path, serial });
  }
}

/** sun_path holds 108 bytes with the NUL (unix(7)). */
function checkSocketPaths(directory: string): void {
  const longest = Math.max(...Object.values(socketPaths(directory)).map((path) => Buffer.byteLength(path)));
  if (longest < 108) return;
  throw bridgeError(
    "FAILED_PRECONDITION",
    "RUN_DIR_TOO_LONG",
    `the run directory's path is ${longest - 107} bytes too long for sockets in ${directory}`,
  );
}

/** A VMM's user. With KVM its group is that of /dev/kvm, the only thing that this group may own. */
async function vmmIdentity(host: LaunchHost, accelerator: Accelerator): Promise<Identity | undefined> {
  if (!host.identities) return undefined;
  const group = accelerator === "kvm" ? await kvmGroup(KVM_DEVICE) : undefined;
  const { uid, gid } = await host.identities.take();
  return { uid, gid: group ?? gid };
}
