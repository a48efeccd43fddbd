import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Library, LOADER } from "./libraries.js";
import { originsOf } from "./origins.js";
import { run } from "./run.js";
import type { Sources } from "./sources.js";
import { directory, type Entry, file, type Origin } from "./tree.js";

const OURS: Origin = { kind: "zone-agent" };

/** Where PID 1 mounts something, so that a read-only root must have them. */
const MOUNT_POINTS: readonly Entry[] = [
  directory("dev"),
  directory("proc", 0o555),
  directory("run"),
  directory("sys", 0o555),
  directory("tmp", 0o1777),
  directory("var"),
];

/** The little of /etc that programs in the zone itself read. Containers bring their own. */
const ETC: readonly Entry[] = [
  file("etc/group", "root:x:0:\nnogroup:x:65534:\n", OURS, "names of the groups root and nogroup"),
  file("etc/hostname", "zone\n", OURS, "the zone's own name, before it is given another"),
  file("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", OURS, "localhost without a name server"),
  file("etc/machine-id", "", OURS, "empty: the zone's identity is set at each start, never shipped"),
  file(
    "etc/passwd",
    "root:x:0:0:root:/run:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
    OURS,
    "names of the users root and nobody",
  ),
  file("etc/resolv.conf", "", OURS, "empty: a zone has no name server until it is told one"),
];

/** The zone's root file system, without kernel modules: PID 1, Node, the agent, crun, and the libraries of these. */
export async function rootEntries(sources: Sources, libraries: readonly Library[]): Promise<Entry[]> {
  const { node, crun } = sources;
  const origins = await originsOf([node, crun, LOADER, ...libraries.map(({ path }) => path)]);
  const ofHost = async (target: string, path: string, why: string, mode: number): Promise<Entry> =>
    file(target, await readFile(path), origins.get(path) ?? { kind: "host", path }, why, mode);
  const ours = async (target: string, path: string, why: string, mode = 0o644): Promise<Entry> =>
    file(target, await readFile(path), OURS, why, mode);

  const entries: Entry[] = [
    ...MOUNT_POINTS,
    ...ETC,
    await ours("sbin/zone-init", sources.init, "PID 1, for use as a tool", 0o755),
    await ours("usr/lib/zone/agent.mjs", sources.agent, "the agent"),
    await ours("usr/lib/zone/reflection.mjs", sources.reflection, "the agent's gRPC reflection, loaded on demand"),
    await ours("usr/lib/zone/zone.node", sources.addon, "the agent's system calls"),
    await ofHost("bin/crun", crun, "runs OCI bundles", 0o755),
    await ofHost(LOADER.slice(1), LOADER, "the dynamic loader", 0o755),
  ];
  for (const { path, neededBy } of libraries)
    entries.push(await ofHost(path.slice(1), path, `needed by ${neededBy.join(", ")}`, 0o644));
  const why = "runs the agent; stripped of its symbols";
  entries.push(file("bin/node", await stripped(node), origins.get(node) ?? { kind: "host", path: node }, why, 0o755));
  return entries;
}

/** A program without its symbol tables, which are an eighth of node. */
async function stripped(path: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "zone-image-"));
  try {
    const output = join(folder, "stripped");
    await run("strip", ["--strip-all", "-o", output, path]);
    return await readFile(output);
  } finally {
    await rm(folder, { recursive: true });
  }
}
