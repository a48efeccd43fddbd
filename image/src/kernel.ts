import { mkdir, readdir, readFile, realpath, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { BuildError } from "./errors.js";
import { run } from "./run.js";
import type { Origin } from "./tree.js";

/** Which kernel an image has: Debian's cloud kernel, or the one of kernel/build.sh. */
export const FLAVOURS = ["debian", "zone"] as const;
export type Flavour = (typeof FLAVOURS)[number];

export interface Kernel {
  flavour: Flavour;
  /** As uname -r says. */
  release: string;
  /** The file that the hypervisor is given. */
  image: string;
  /** The folder lib/modules/RELEASE with a modules.dep; undefined when all is built in. */
  modules: string | undefined;
  /** The package of the kernel, or of the source that it was built from. */
  origin: Origin;
}

export type Progress = (line: string) => void;

const META_PACKAGE = "linux-image-cloud-amd64";

/**
 * Debian's cloud kernel, unpacked below `cache`; nothing of it is installed. The one that is there is taken, without asking
 * the network, until somebody removes it: a kernel changes when a person wants it to.
 */
export async function debianKernel(cache: string, progress: Progress): Promise<Kernel> {
  const folder = join(cache, "debian");
  const unpacked = await unpackedIn(folder);
  if (unpacked !== undefined) return unpacked;

  progress(`fetching Debian's kernel (${META_PACKAGE})`);
  await mkdir(cache, { recursive: true });
  const building = join(cache, `debian.building-${process.pid}`);
  await rm(building, { recursive: true, force: true });
  await mkdir(building);
  const deb = join(building, await downloadKernel(building));
  progress("unpacking it");
  await run("dpkg-deb", ["--extract", deb, building]);
  const release = await onlyName(join(building, "lib", "modules"));
  await run("depmod", ["--basedir", building, release]);
  await rename(building, folder).catch(async (error: unknown) => {
    // Somebody else was faster: theirs is as good.
    await rm(building, { recursive: true, force: true });
    if ((await unpackedIn(folder)) === undefined) throw error;
  });
  const kernel = await unpackedIn(folder);
  if (kernel === undefined) throw new BuildError(`${folder} has no kernel after unpacking ${deb}`);
  return kernel;
}

/** The kernel that kernel/build.sh has made below `cache`. Throws a BuildError when it has not. */
export async function zoneKernel(cache: string): Promise<Kernel> {
  const folder = await realpath(join(cache, "zone")).catch((error: unknown) => {
    throw new BuildError("our own kernel has not been built yet: npm run image:kernel does it, in some minutes", error);
  });
  const release = (await readFile(join(folder, "release"), "utf8")).trim();
  const [name, version] = (await readFile(join(folder, "origin"), "utf8")).trim().split(" ");
  if (!name || !version) throw new BuildError(`${folder}/origin does not name the kernel's source: remove the folder`);
  const origin: Origin = { kind: "debian", package: name, version };
  return { flavour: "zone", release, image: join(folder, "vmlinux"), modules: undefined, origin };
}

/** Downloads the package that the meta package stands for into `folder`, checked by apt's signatures; answers its file name. */
async function downloadKernel(folder: string): Promise<string> {
  const depends = await run("apt-cache", ["depends", META_PACKAGE]);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new BuildError(`apt knows no ${META_PACKAGE}: run apt-get update and try again`);
  // As root apt would become the user _apt, who may not write here.
  await run("apt-get", ["--quiet", "--option", "APT::Sandbox::User=root", "download", name], { cwd: folder });
  return onlyName(folder);
}

async function unpackedIn(folder: string): Promise<Kernel | undefined> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (names === undefined) return undefined;
  const deb = names.find((name) => name.endsWith(".deb"));
  if (deb === undefined) throw new BuildError(`${folder} lacks its .deb: remove the folder`);
  const fields = await run("dpkg-deb", ["--field", join(folder, deb), "Package", "Version"]);
  const release = await onlyName(join(folder, "lib", "modules"));
  return {
    flavour: "debian",
    release,
    image: join(folder, "boot", `vmlinuz-${release}`),
    modules: join(folder, "lib", "modules", release),
    origin: { kind: "debian", package: field(fields, "Package"), version: field(fields, "Version") },
  };
}

function field(text: string, name: string): string {
  const value = new RegExp(`^${name}: (.+)$`, "m").exec(text)?.[1];
  if (value === undefined) throw new BuildError(`a Debian package without the field ${name}`);
  return value;
}

async function onlyName(folder: string): Promise<string> {
  const [name, ...others] = await readdir(folder);
  if (name === undefined || others.length > 0) throw new BuildError(`${folder} should hold exactly one name`);
  return name;
}
