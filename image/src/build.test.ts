import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Built, buildImage } from "./build.js";
import { sha256 } from "./files.js";
import type { Kernel } from "./kernel.js";
import { libraryClosure } from "./libraries.js";
import { IMAGE_FILES, PROTOCOL } from "./manifest.js";
import { BOOT_MODULES, LATER_MODULES } from "./module-list.js";
import { BUDGET_BYTES, sizeTable } from "./size-table.js";
import type { Sources } from "./sources.js";

const RELEASE = "9.9.9-test";
const ALL_FILES = ["initramfs.cpio", "manifest.json", "root.erofs", "vmlinuz"];
const CRUN = "/usr/bin/crun";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zone-build-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Node, crun and all libraries are the real ones; our own parts and the kernel are stand-ins, the same each time. */
async function standIns(name: string): Promise<{ sources: Sources; kernel: Kernel }> {
  const at = join(folder, name);
  mkdirSync(at);
  const write = (file: string, content: string): string => {
    writeFileSync(join(at, file), content);
    return join(at, file);
  };
  const [library] = await libraryClosure([CRUN]);
  if (library === undefined) throw new Error(`${CRUN} has no libraries`);
  const addon = join(at, "zone.node");
  copyFileSync(library.path, addon);

  const modules = join(at, "lib", "modules", RELEASE);
  const paths = [...BOOT_MODULES, ...LATER_MODULES].map((module) => `kernel/${module.name}.ko`);
  mkdirSync(join(modules, "kernel"), { recursive: true });
  for (const path of paths) writeFileSync(join(modules, path), `module ${path}`);
  writeFileSync(join(modules, "modules.dep"), paths.map((path) => `${path}:\n`).join(""));
  writeFileSync(join(modules, "modules.builtin"), "");

  const init = write("zone-init", "stand-in for PID 1");
  const agent = write("agent.mjs", "stand-in for the agent");
  const reflection = write("reflection.mjs", "stand-in for reflection");
  const image = write("bzImage", `${"\0".repeat(0x202)}HdrS`);
  return {
    sources: { init, agent, reflection, addon, node: process.execPath, crun: CRUN },
    kernel: { flavour: "debian", release: RELEASE, image, modules, origin: { kind: "zone-agent" } },
  };
}

const silent = (): void => undefined;

function digests(built: Built): Record<string, string> {
  return Object.fromEntries(ALL_FILES.map((name) => [name, sha256(readFileSync(join(built.path, name)))]));
}

describe("buildImage", () => {
  it("is the same bit for bit from elsewhere, at another time, under another umask", { timeout: 300_000 }, async () => {
    const one = await standIns("one");
    const first = await buildImage(one.sources, one.kernel, join(folder, "out-1"), silent);

    const other = await standIns("another-folder");
    for (const path of [other.sources.agent, other.sources.init, other.kernel.image]) {
      utimesSync(path, 1e9, 1e9);
      chmodSync(path, 0o700);
    }
    const [cwd, umask] = [process.cwd(), process.umask(0o077)];
    process.chdir("/");
    try {
      const second = await buildImage(other.sources, other.kernel, join(folder, "out-2"), silent);
      expect(digests(second)).toEqual(digests(first));
      expect(statSync(second.path).mode & 0o777).toBe(0o755);
      expect(statSync(join(second.path, "root.erofs")).mode & 0o777).toBe(0o644);
    } finally {
      process.chdir(cwd);
      process.umask(umask);
    }
  });

  it("makes what the manifest says, once", { timeout: 300_000 }, async () => {
    const { sources, kernel } = await standIns("in");
    const out = join(folder, "out");
    const built = await buildImage(sources, kernel, out, silent);
    const { manifest } = built;
    expect(readdirSync(out).sort()).toEqual([manifest.version, "current"]);
    expect(readlinkSync(join(out, "current"))).toBe(manifest.version);
    expect(readdirSync(built.path).sort()).toEqual(ALL_FILES);
    for (const name of IMAGE_FILES) {
      const bytes = readFileSync(join(built.path, name));
      expect(manifest.files[name]).toMatchObject({ size: bytes.length, sha256: sha256(bytes) });
    }
    expect(manifest.totalCompressedSize).toBeLessThanOrEqual(BUDGET_BYTES);
    expect(sizeTable(manifest)).toContain("within the budget");

    const initramfs = manifest.contents.initramfs.map(({ path }) => path);
    expect(initramfs).toContain("/init");
    expect(initramfs.filter((path) => path.startsWith("/modules/"))).toEqual(
      BOOT_MODULES.map(({ name }, index) => `/modules/${String(index).padStart(2, "0")}-${name}.ko`),
    );
    const root = new Map(manifest.contents.root.map((record) => [record.path, record]));
    for (const path of ["/bin/node", "/bin/crun", "/sbin/zone-init", "/usr/lib/zone/agent.mjs", "/etc/passwd"])
      expect([...root.keys()]).toContain(path);
    expect(root.get("/lib64/ld-linux-x86-64.so.2")?.origin).toMatch(/^libc6 \d/);
    expect(root.get("/usr/lib/zone/agent.mjs")).toMatchObject({
      origin: "zone-agent",
      sha256: sha256("stand-in for the agent"),
    });
    for (const record of [...manifest.contents.root, ...manifest.contents.initramfs]) expect(record.why).not.toBe("");

    const before = statSync(join(built.path, "manifest.json")).mtimeMs;
    const again = await buildImage(sources, kernel, out, silent);
    expect(again).toEqual({ ...built, fresh: false });
    expect(statSync(join(built.path, "manifest.json")).mtimeMs).toBe(before);

    writeFileSync(sources.agent, "another agent");
    const changed = await buildImage(sources, kernel, out, silent);
    expect(changed.manifest.version).not.toBe(manifest.version);
    expect(readlinkSync(join(out, "current"))).toBe(changed.manifest.version);
    expect(existsSync(built.path)).toBe(true);
  });

  it("names what is missing", async () => {
    const { sources, kernel } = await standIns("in");
    rmSync(sources.reflection);
    const building = buildImage(sources, kernel, join(folder, "out"), silent);
    await expect(building).rejects.toThrow("reflection.mjs is missing: npm run build makes it");
  });

  it("leaves nothing half built when it fails, and clears away what was abandoned", { timeout: 300_000 }, async () => {
    const { sources, kernel } = await standIns("in");
    const out = join(folder, "out");
    mkdirSync(join(out, ".building-abandoned"), { recursive: true });
    utimesSync(join(out, ".building-abandoned"), 1e9, 1e9);
    writeFileSync(kernel.image, "not a kernel");
    await expect(buildImage(sources, kernel, out, silent)).rejects.toThrow("neither an ELF vmlinux nor a bzImage");
    expect(readdirSync(out)).toEqual([]);
  });

  it("notices when what it is made from changes meanwhile", { timeout: 300_000 }, async () => {
    const { sources, kernel } = await standIns("in");
    const out = join(folder, "out");
    const change = (): void => writeFileSync(sources.agent, "another agent");
    await expect(buildImage(sources, kernel, out, change)).rejects.toThrow("has just changed");
    expect(readdirSync(out)).toEqual([]);
  });
});

describe("the manifest's protocol", () => {
  it("is the link's", () => {
    const link = readFileSync(join(dirname(import.meta.dirname), "..", "link", "src", "hello.ts"), "utf8");
    const number = (name: string): number => Number(new RegExp(`${name}(?:: number)? = (\\d+)`).exec(link)?.[1]);
    expect(PROTOCOL).toEqual({ min: number("PROTOCOL_MIN"), max: number("PROTOCOL_MAX") });
  });
});
