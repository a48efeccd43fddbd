import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { RunningAgent } from "../../testing/running-agent.js";

/** The real agent, which takes a folder of ours for the zone's root; beside it is what no call may reach. */
export interface RootedAgent {
  readonly agent: RunningAgent;
  /** Emptied before each test. */
  readonly root: string;
  /** Has a file "secret". */
  readonly outside: string;
  /** The host's path of one in the root, given with or without a slash. */
  at(path: string): string;
  /** Writes a file in the root, and the directories that it needs. */
  put(path: string, content?: string | Buffer): void;
  text(path: string): string;
}

/** Starts one for the tests of a file. */
export function useRootedAgent(): RootedAgent {
  const top = mkdtempSync(join(tmpdir(), "zone-file-"));
  const [root, outside] = [join(top, "root"), join(top, "outside")];
  let agent: RunningAgent | undefined;
  beforeAll(async () => {
    mkdirSync(root);
    agent = await RunningAgent.start("", { ZONE_ROOT: root });
  });
  afterAll(async () => {
    const status = await agent?.stop();
    rmSync(top, { recursive: true, force: true });
    expect(status).toBe(0);
  });
  beforeEach(() => {
    for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true, force: true });
    rmSync(outside, { recursive: true, force: true });
    mkdirSync(outside);
    writeFileSync(join(outside, "secret"), "secret");
  });
  const at = (path: string) => join(root, path);
  return {
    get agent() {
      if (agent === undefined) throw new Error("the agent does not run yet");
      return agent;
    },
    ...{ root, outside, at },
    put: (path, content = "") => {
      mkdirSync(join(at(path), ".."), { recursive: true });
      writeFileSync(at(path), content);
    },
    text: (path) => readFileSync(at(path), "utf8"),
  };
}
