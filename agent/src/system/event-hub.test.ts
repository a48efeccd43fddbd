import { describe, expect, it } from "vitest";
import { LIMITS } from "../limits.js";
import { EventHub } from "./event-hub.js";

describe("EventHub", () => {
  it("delivers to everyone what comes after the subscription, in order", () => {
    const hub = new EventHub<string>(() => 5);
    hub.publish("before");
    const first = hub.subscribe();
    hub.publish("a");
    const second = hub.subscribe();
    hub.publish("b");
    expect([first.sequence, second.sequence]).toEqual([1, 2]);
    expect([first.subscription.next(), first.subscription.next(), first.subscription.next()]).toEqual([
      { sequence: 2, at: 5, event: "a" },
      { sequence: 3, at: 5, event: "b" },
      undefined,
    ]);
    expect(second.subscription.next()).toEqual({ sequence: 3, at: 5, event: "b" });
  });

  it("drops the oldest events of a subscriber that does not read, and counts them", () => {
    const hub = new EventHub<number>(() => 5);
    const { subscription } = hub.subscribe();
    for (let i = 1; i <= LIMITS.eventQueue + 3; i++) hub.publish(i);
    expect(subscription.next()).toEqual({ lost: 3, sequence: 3, at: 5 });
    expect(subscription.next()).toEqual({ sequence: 4, at: 5, event: 4 });
  });

  it("forgets a subscriber that has left", () => {
    const hub = new EventHub<string>(() => 5);
    const { subscription } = hub.subscribe();
    subscription.end();
    hub.publish("a");
    expect(subscription.next()).toBeUndefined();
  });
});
