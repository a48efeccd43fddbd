import { afterAll, beforeAll, describe, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";
import { SurfaceZone } from "./surface/row.js";
import { rows } from "./surface/rows/index.js";

/** Each RPC of the agent, and each field that has an effect, against a booted zone: docs/coverage.md is made of the same rows. */
describe("the agent's surface", () => {
  let bridge: TestBridge;
  let zone: SurfaceZone;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    zone = new SurfaceZone(bridge, await bridge.detached("surface", ["sleep", "100000"], ["--memory", "384m"]));
  });
  afterAll(() => bridge.close());

  for (const row of rows) test(`${row.rpc} ${row.kind === "works" ? "" : "refuses "}${row.name}`, () => row.run(zone));
});
