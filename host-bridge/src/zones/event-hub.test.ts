import { describe, expect, it } from "vitest";
import { EventHub, type ZoneChange } from "./event-hub.js";

const change = (time: number, ownerUid = 0): ZoneChange => ({
  time,
  type: "running",
  ownerUid,
  zone: { id: String(time) },
});

describe("EventHub", () => {
  it("tells each subscriber what it wants, in order", async () => {
    const hub = new EventHub();
    const abort = new AbortController();
    const events = hub.subscribe((event) => event.ownerUid === 1, abort.signal)[Symbol.asyncIterator]();
    const first = events.next();
    hub.publish(change(1, 1));
    hub.publish(change(2, 2));
    hub.publish(change(3, 1));
    expect((await first).value).toEqual({ change: change(1, 1), lost: 0 });
    expect((await events.next()).value).toEqual({ change: change(3, 1), lost: 0 });
    const last = events.next();
    abort.abort();
    expect((await last).done).toBe(true);
  });

  it("drops the oldest for a subscriber that does not read, and says how many", async () => {
    const hub = new EventHub();
    const abort = new AbortController();
    const events = hub.subscribe(() => true, abort.signal)[Symbol.asyncIterator]();
    for (let n = 0; n < 1000; n++) hub.publish(change(n));
    expect((await events.next()).value).toEqual({ change: change(744), lost: 744 });
    expect((await events.next()).value).toEqual({ change: change(745), lost: 0 });
    abort.abort();
    expect((await events.next()).done).toBe(true);
  });
});
