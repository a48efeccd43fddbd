import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { RunningAgent } from "../../testing/running-agent.js";
import { Services } from "./services.js";

/** The real agent, and services on this host that it can forward to. */
export interface ForwardingLab {
  readonly agent: RunningAgent;
  readonly services: Services;
  /** A folder for sockets. */
  readonly work: string;
}

/** Starts one for the tests of a file. */
export function useForwarding(): ForwardingLab {
  const work = mkdtempSync(join(tmpdir(), "zone-forward-"));
  const services = new Services();
  let agent: RunningAgent | undefined;
  beforeAll(async () => {
    agent = await RunningAgent.start();
  });
  afterAll(async () => {
    await agent?.stop();
    await services.close();
    rmSync(work, { recursive: true });
  });
  return {
    get agent() {
      if (agent === undefined) throw new Error("the agent does not run yet");
      return agent;
    },
    ...{ services, work },
  };
}

/** A port of the zone as a Forward's target. */
export const tcp = (port: number) => ({ tcp: { port } });
