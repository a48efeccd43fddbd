import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ReconnectingLink } from "./reconnecting-link.js";
import { echoClient } from "./testing/echo-service.js";
import { failure, LinkBench, until } from "./testing/link-bench.js";

let bench: LinkBench;
beforeEach(() => {
  bench = new LinkBench();
});
afterEach(() => bench.close());

describe("ReconnectingLink", () => {
  test("ready() has a limit, and can be cancelled; close() ends it all", async () => {
    const link = new ReconnectingLink(`unix:${join(bench.folder, "nobody")}`, { zoneId: "" });
    await expect(link.ready(undefined, 50)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "LINK_NOT_READY" });
    const abort = new AbortController();
    const waiting = failure(link.ready(abort.signal));
    abort.abort();
    expect(await waiting).toMatchObject({ code: "CANCELLED" });
    const last = failure(link.ready());
    await link.close();
    expect(await last).toMatchObject({ code: "UNAVAILABLE", reason: "LINK_CLOSED" });
  });

  test("ready() fails at once when trying again will not help, and yet it does try", async () => {
    const agent = await bench.unixAgent("other");
    const link = new ReconnectingLink(agent.uri, { zoneId: "web-1" });
    bench.cleanups.push(() => link.close());
    await expect(link.ready()).rejects.toMatchObject({ reason: "ZONE_MISMATCH" });
    await agent.served.close();
    await bench.unixAgent("web-1");
    await until(() => link.state.kind === "ready");
    expect((await echoClient(await link.ready()).unary("x")).toString()).toBe("x");
  });
});
