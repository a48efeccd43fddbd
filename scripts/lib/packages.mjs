// The Debian packages that the project needs, each with what tells that it is there and why it is needed.
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Failure, quiet, run } from "./run.mjs";

/** @typedef {{ name: string, has: string, why: string }} DebianPackage `has` is a command, or an absolute path. */

/** @type {DebianPackage[]} what building and running zones takes */
export const runtimePackages = [
  { name: "gcc", has: "gcc", why: "compiles PID 1 and the Node addon" },
  { name: "make", has: "make", why: "drives that compilation" },
  { name: "libc6-dev", has: "/usr/include/stdio.h", why: "headers and the static C library" },
  { name: "linux-libc-dev", has: "/usr/include/linux/vm_sockets.h", why: "kernel headers: vsock, clone3, openat2" },
  { name: "musl-tools", has: "musl-gcc", why: "makes PID 1 a small static program" },
  { name: "qemu-system-x86", has: "qemu-system-x86_64", why: "runs the zones" },
  { name: "passt", has: "passt", why: "connects zones to the network" },
  {
    name: "qemu-system-common",
    has: "/usr/lib/qemu/virtiofsd",
    why: "has virtiofsd, which shares folders of the host with zones",
  },
  { name: "skopeo", has: "skopeo", why: "fetches container images" },
  { name: "crun", has: "crun", why: "goes into the zone image" },
  { name: "busybox-static", has: "busybox", why: "is the built-in container image" },
  { name: "erofs-utils", has: "mkfs.erofs", why: "makes the zone's root file system" },
  { name: "e2fsprogs", has: "mkfs.ext4", why: "makes the file systems of volumes" },
  { name: "binutils", has: "strip", why: "makes node smaller for the zone" },
  { name: "kmod", has: "modinfo", why: "finds the kernel modules that a zone needs" },
  { name: "xz-utils", has: "xz", why: "unpacks them" },
  { name: "zstd", has: "zstd", why: "unpacks zstd layers of container images" },
];

/** @type {DebianPackage[]} what only the tests take */
export const testPackages = [
  { name: "g++", has: "g++", why: "compiles node-pty, which drives zonectl in the tests" },
  { name: "docker-registry", has: "docker-registry", why: "is the registry that the tests push to" },
  { name: "mmdebstrap", has: "mmdebstrap", why: "makes the Debian image that the tests run" },
  { name: "umoci", has: "umoci", why: "makes multi-layer images for the tests" },
  { name: "python3-minimal", has: "python3", why: "is the adversary that swaps links, and reads disks, in the tests" },
  { name: "iproute2", has: "ip", why: "makes links for the network's tests, and is what they compare with" },
  { name: "xfsprogs", has: "mkfs.xfs", why: "makes the XFS file systems that the mount tests freeze and grow" },
  { name: "shellcheck", has: "shellcheck", why: "checks the shell scripts" },
];

/** @param {DebianPackage} wanted */
function isMissing({ has }) {
  if (has.startsWith("/")) return !existsSync(has);
  const path = `${process.env.PATH ?? ""}${delimiter}/usr/sbin${delimiter}/sbin`;
  return !path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, has), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Installs what is missing with apt-get, saying what and why. Needs root for that, and nothing when all is there.
 * @param {DebianPackage[]} wanted
 */
export async function installPackages(wanted) {
  const missing = wanted.filter(isMissing);
  if (missing.length === 0) return;
  process.stderr.write("==> installing Debian packages:\n");
  for (const { name, why } of missing) process.stderr.write(`      ${name.padEnd(18)} ${why}\n`);
  const names = missing.map(({ name }) => name);
  const byHand = `apt-get install ${names.join(" ")}`;
  if (process.getuid?.() !== 0)
    throw new Failure(`packages are missing and only root can install them: sudo ${byHand}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = () => quiet("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], { env });
  // A list that is there but old names versions that the mirror no longer has; so update first, always.
  await run("apt-get", ["update", "-qq"], { env, stdio: ["ignore", "ignore", "inherit"] });
  await install();
  const still = wanted.filter(isMissing);
  if (still.length > 0) throw new Failure(`still missing after ${byHand}: ${still.map(({ has }) => has).join(", ")}`);
}
