import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MS, mount } from "@zone/native";
import { overwrite, resolvConf } from "../container/etc-files.js";
import type { ZoneNames } from "./names.js";

/** Names of the zone's own /etc. */
const NAMES = ["hosts", "resolv.conf"] as const;

/**
 * The zone's own hosts(5) and resolv.conf(5), for processes in no container. The zone's root is read-only: its files are covered with
 * ones of the run folder, which keep their inode, as a container's do.
 */
export class ZoneFiles {
  readonly #directory: string;
  readonly #etc: string | undefined;

  /** `runDir` is /run/zone; `etc` is /etc, or undefined outside a zone, where nothing is mounted. */
  constructor(runDir: string, etc: string | undefined) {
    this.#directory = join(runDir, "etc");
    this.#etc = etc;
  }

  /** Writes both anew. */
  write({ dns, hosts }: Pick<ZoneNames, "dns" | "hosts">): void {
    const entries = hosts.map(({ address, names }) => `${address}\t${names.join(" ")}\n`);
    this.#put("hosts", `${this.#image("hosts")}${entries.join("")}`);
    if (dns) this.#put("resolv.conf", resolvConf(dns));
  }

  #put(name: (typeof NAMES)[number], text: string): void {
    const file = join(this.#directory, name);
    if (existsSync(file)) {
      overwrite(file, text);
    } else {
      mkdirSync(this.#directory, { recursive: true });
      writeFileSync(file, text, { mode: 0o644 });
    }
    if (this.#etc === undefined) return;
    const target = join(this.#etc, name);
    if (existsSync(target) && !isSameFile(file, target)) mount(file, target, "", MS.BIND, "");
  }

  /** What the zone's image has, read before it is covered. */
  #image(name: string): string {
    const copy = join(this.#directory, `${name}.image`);
    if (existsSync(copy)) return readFileSync(copy, "utf8");
    const original = this.#etc === undefined ? undefined : join(this.#etc, name);
    const text = original !== undefined && existsSync(original) ? readFileSync(original, "utf8") : "";
    mkdirSync(this.#directory, { recursive: true });
    writeFileSync(copy, text);
    return text;
  }
}

function isSameFile(a: string, b: string): boolean {
  const [first, second] = [statSync(a), statSync(b)];
  return first.dev === second.dev && first.ino === second.ino;
}
