import { afterAll, beforeAll, describe, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";
import { SurfaceZone } from "./surface/row.js";
import { rows } from "./surface/rows/index.js";

/** A disk that the zone has beside its image's, for the cases of Mount. */
const VOLUME = "surface";

/** Each RPC of the agent, and each field that has an effect, against a booted zone: docs/coverage.md is made of the same rows. */
describe("the agent's surface", () => {
  let bridge: TestBridge;
  let zone: SurfaceZone;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    const flags = ["--memory", "384m", "-v", `${VOLUME}:/data`];
    zone = new SurfaceZone(bridge, await bridge.detached("surface", ["sleep", "100000"], flags));
  });
  afterAll(async () => {
    try {
      await bridge.zones.delete({ zone: zone.id, force: true });
      await bridge.volumes.remove({ name: VOLUME });
    } finally {
      await bridge.close();
    }
  });

  for (const row of rows) test(`${row.rpc} ${row.kind === "works" ? "" : "refuses "}${row.name}`, () => row.run(zone));
});
