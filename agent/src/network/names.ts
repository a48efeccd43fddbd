import { readFileSync } from "node:fs";
import { errnoOf } from "../errors.js";
import { writeAtomically } from "../system/identity.js";

/** resolv.conf(5) */
export interface Dns {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** A line of hosts(5). */
export interface HostEntry {
  readonly address: string;
  readonly names: readonly string[];
}

interface Kept {
  dns?: Dns;
  hosts: readonly HostEntry[];
}

/**
 * The zone's name servers and hosts, of which every container has a copy in its /etc. Kept in a file of the run folder, which
 * ends with the boot, so that a restarted agent gives them to containers that are made later.
 */
export class ZoneNames {
  readonly #file: string;
  #kept: Kept;
  /** Told after each change; what it throws, who has made the change gets. */
  onChange: () => void = () => {};

  /** `file`: /run/zone/names.json */
  constructor(file: string) {
    this.#file = file;
    this.#kept = read(file);
  }

  /** Undefined: nobody has set any. */
  get dns(): Dns | undefined {
    return this.#kept.dns;
  }

  get hosts(): readonly HostEntry[] {
    return this.#kept.hosts;
  }

  /** Replaces the name servers; undefined takes them away. */
  setDns(dns: Dns | undefined): void {
    const { hosts } = this.#kept;
    this.#keep(dns ? { dns, hosts } : { hosts });
  }

  /** Replaces all entries. */
  setHosts(hosts: readonly HostEntry[]): void {
    this.#keep({ ...this.#kept, hosts });
  }

  #keep(kept: Kept): void {
    writeAtomically(this.#file, JSON.stringify(kept));
    this.#kept = kept;
    this.onChange();
  }
}

function read(file: string): Kept {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Kept;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { hosts: [] };
    throw error;
  }
}
