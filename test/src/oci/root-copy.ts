import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { agent, type zone as messages } from "@zone/proto";
import { RuntimeError } from "./runtime-error.js";
import type { Zone } from "./zone.js";

const CHUNK_BYTES = 128 * 1024;
/** Mounted over the container's own by the agent. */
const AGENTS_FILES = ["./etc/hosts", "./etc/hostname", "./etc/resolv.conf"];
/** Made where the bundle lacks them. */
const AGENTS_FOLDERS = ["proc", "sys", "dev", "etc"];

/** Fills a container's root with the bundle's. */
export async function copyRootIn(zone: Zone, id: string, root: string): Promise<void> {
  const options = ["--format=posix", "--numeric-owner", ...AGENTS_FILES.map((file) => `--exclude=${file}`)];
  const tar = spawn("tar", ["-C", root, ...options, "-cf", "-", "."], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(tar, "exit");
  const { requests, response } = zone.file.copyIn(zone.options);
  let failed = false;
  response.catch(() => {
    failed = true;
  });
  requests.on("error", () => {}); // `response` says why
  requests.write({ open: { containerId: id, path: "/" } });
  for await (const bytes of tar.stdout as AsyncIterable<Buffer>) {
    for (let at = 0; at < bytes.length && !failed; at += CHUNK_BYTES) {
      if (!requests.write({ data: bytes.subarray(at, at + CHUNK_BYTES) }))
        await Promise.race([once(requests, "drain"), response.catch(() => {})]);
    }
    if (failed) break;
  }
  if (failed) tar.kill();
  const [code] = await ended;
  if (code !== 0 && !failed) {
    requests.cancel();
    await response.catch(() => {});
    throw new RuntimeError(`tar of ${root} ended with ${code}`);
  }
  requests.end();
  await response;
}

/**
 * Brings what the container wrote at the top of its root back into the bundle: elsewhere a container's root is the bundle's folder,
 * and who made the bundle finds the files there. What has become newer on this host meanwhile stays.
 */
export async function copyRootOut(zone: Zone, id: string, root: string): Promise<void> {
  const { files = [] } = await zone.file.readDirectory({ containerId: id, path: "/" }, zone.options);
  for (const file of files) if (await differs(file, root)) await copyOut(zone, id, file.name ?? "", root);
}

/** New, or a file of another size or time. */
async function differs(
  { name, type, size, modifiedAt }: messages.agent.v1.FileInfo.$Properties,
  root: string,
): Promise<boolean> {
  if (!name || name.includes("/") || name === "..") return false;
  const here = await lstat(join(root, name)).catch(() => undefined);
  if (here === undefined) return !AGENTS_FOLDERS.includes(name);
  if (type !== agent.FileType.FILE_TYPE_REGULAR || !here.isFile()) return false;
  return here.size !== size || Math.floor(here.mtimeMs / 1000) !== modifiedAt?.seconds;
}

async function copyOut(zone: Zone, id: string, name: string, root: string): Promise<void> {
  const options = ["--numeric-owner", "--keep-newer-files"];
  const tar = spawn("tar", ["-C", root, ...options, "-xpf", "-"], { stdio: ["pipe", "ignore", "ignore"] });
  const ended = once(tar, "exit");
  tar.stdin.on("error", () => {}); // its exit status says what matters
  const call = zone.file.copyOut({ containerId: id, path: `/${name}`, name }, zone.options);
  for await (const { data } of call as AsyncIterable<messages.agent.v1.CopyOutResponse.$Properties>) {
    if (data && !tar.stdin.write(data)) await Promise.race([once(tar.stdin, "drain"), ended]);
  }
  tar.stdin.end();
  await ended;
}
