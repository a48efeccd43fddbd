import { realpath } from "node:fs/promises";
import { join } from "node:path";

/** Absolute paths of everything that an image is built from, apart from the kernel and the shared libraries. */
export interface Sources {
  /** PID 1: a static program. */
  init: string;
  agent: string;
  reflection: string;
  addon: string;
  node: string;
  crun: string;
}

/** Where these are in a repository that has been built; crun and node are those of the host. */
export async function sourcesOf(repository: string, node: string): Promise<Sources> {
  return {
    init: join(repository, "native", "build", "zone-init"),
    agent: join(repository, "agent", "build", "agent.mjs"),
    reflection: join(repository, "agent", "build", "reflection.mjs"),
    addon: join(repository, "native", "build", "zone.node"),
    node: await realpath(node),
    crun: "/usr/bin/crun",
  };
}
