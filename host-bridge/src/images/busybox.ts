import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { encodeTar, type TarMember } from "@zone/tar";
import { imageError } from "./image-error.js";
import { digestOf } from "./manifest.js";

/**
 * The built-in image: Debian's static busybox with a link for each applet. It is made like any other image, as one layer and
 * a config, so that nothing after this knows it. The same busybox gives the same digest.
 */
export interface BuiltinImage {
  config: Buffer;
  layer: Buffer;
}

const FOLDERS: [name: string, mode: number][] = [
  ...["bin", "dev", "etc", "home", "proc", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var"].map(
    (name): [string, number] => [name, 0o755],
  ),
  ["root", 0o700],
  ["tmp", 0o1777],
];

const FILES: Record<string, string> = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
  "etc/group": "root:x:0:\nnobody:x:65534:\n",
  "etc/shadow": "root:*:::::::\nnobody:*:::::::\n",
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

/**
 * Makes the image from the busybox at `path`.
 * Throws IMAGE_UNKNOWN when there is none, or when it needs a dynamic linker, which the image would not have.
 */
export async function builtinImage(path: string, architecture: string): Promise<BuiltinImage> {
  const unusable = (why: string, cause?: unknown) =>
    imageError("IMAGE_UNKNOWN", `the built-in image needs a static busybox, and ${why}; install busybox-static`, cause);
  let busybox: Buffer;
  let applets: string;
  let dynamic: boolean;
  try {
    busybox = await readFile(path);
    applets = (await promisify(execFile)(path, ["--list-full"], { env: {}, timeout: 10_000 })).stdout;
    dynamic = hasInterpreter(busybox);
  } catch (error) {
    throw unusable(`${path} cannot be used`, error);
  }
  if (dynamic) throw unusable(`${path} is dynamically linked`);
  const links = applets.split("\n").filter((applet) => applet !== "" && applet !== "bin/busybox");
  const members: TarMember[] = [
    ...FOLDERS.map(([name, mode]): TarMember => ({ name, typeFlag: "5", mode })),
    ...Object.entries(FILES).map(([name, text]): TarMember => {
      return { name, typeFlag: "0", mode: name === "etc/shadow" ? 0o640 : 0o644, content: Buffer.from(text) };
    }),
    { name: "bin/busybox", typeFlag: "0", mode: 0o755, content: busybox },
    ...links.map((name): TarMember => ({ name, typeFlag: "2", mode: 0o777, linkName: "/bin/busybox" })),
  ];
  const layer = encodeTar(members);
  const config = {
    architecture,
    os: "linux",
    config: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: ["sh"] },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  };
  return { config: Buffer.from(JSON.stringify(config)), layer };
}

/** Writes it as copyImage() would have; answers with the folder. */
export async function writeBuiltin({ config, layer }: BuiltinImage, directory: string): Promise<string> {
  const blob = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  const manifest = {
    schemaVersion: 2,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf(config), size: config.length },
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: digestOf(layer), size: layer.length }],
  };
  await writeFile(join(directory, blob(config)), config);
  await writeFile(join(directory, blob(layer)), layer);
  await writeFile(join(directory, "manifest.json"), JSON.stringify(manifest));
  return directory;
}

const ELF64_PROGRAM_HEADERS = 32;
const ELF64_PROGRAM_HEADER_SIZE = 54;
const ELF64_PROGRAM_HEADER_COUNT = 56;
const PT_INTERP = 3;

/** Whether a 64-bit little-endian ELF asks for a dynamic linker (elf(5)). */
function hasInterpreter(elf: Buffer): boolean {
  const start = Number(elf.readBigUInt64LE(ELF64_PROGRAM_HEADERS));
  const size = elf.readUInt16LE(ELF64_PROGRAM_HEADER_SIZE);
  const count = elf.readUInt16LE(ELF64_PROGRAM_HEADER_COUNT);
  return Array.from({ length: count }, (_, index) => elf.readUInt32LE(start + index * size)).includes(PT_INTERP);
}
