import { describe, expect, it } from "vitest";
import { Lock } from "./images/lock.js";
import { SharedWork } from "./shared-work.js";

const silent = () => undefined;

/** Work that ends when told to, or when cancelled. */
function work() {
  const starts: { signal: AbortSignal; finish: (value: string) => void }[] = [];
  const start = (_: unknown, signal: AbortSignal) =>
    new Promise<string>((resolve, reject) => {
      starts.push({ signal, finish: resolve });
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  return { starts, start };
}

describe("SharedWork", () => {
  it("is done once for all who ask while it runs, and again after", async () => {
    const { starts, start } = work();
    const shared = new SharedWork<string>();
    const signal = new AbortController().signal;
    const both = [shared.join("k", silent, signal, start), shared.join("k", silent, signal, start)];
    const other = shared.join("other", silent, signal, start);
    starts[0]?.finish("one");
    starts[1]?.finish("two");
    expect(await Promise.all([...both, other])).toEqual(["one", "one", "two"]);
    const again = shared.join("k", silent, signal, start);
    starts[2]?.finish("three");
    expect(await again).toBe("three");
  });

  it("goes on when one of two leaves, and ends with the last", async () => {
    const { starts, start } = work();
    const shared = new SharedWork<string>();
    const [a, b] = [new AbortController(), new AbortController()];
    const first = shared.join("k", silent, a.signal, start);
    const second = shared.join("k", silent, b.signal, start);
    a.abort(new Error("a left"));
    await expect(first).rejects.toThrow("a left");
    expect(starts[0]?.signal.aborted).toBe(false);
    b.abort(new Error("b left"));
    await expect(second).rejects.toThrow("b left");
    expect(starts[0]?.signal.aborted).toBe(true);
  });

  it("starts anew for who comes while it is being cancelled", async () => {
    const { starts, start } = work();
    const shared = new SharedWork<string>();
    const a = new AbortController();
    const first = shared.join("k", silent, a.signal, start);
    a.abort(new Error("left"));
    const second = shared.join("k", silent, new AbortController().signal, start);
    await expect(first).rejects.toThrow("left");
    await expect.poll(() => starts.length).toBe(2);
    starts[1]?.finish("new");
    expect(await second).toBe("new");
  });

  it("tells everybody of progress, and passes failures on", async () => {
    const shared = new SharedWork<string>();
    const said: string[] = [];
    let fail: (error: Error) => void = () => undefined;
    let say: (phase: string, message: string) => void = silent;
    const start = (progress: typeof say) => {
      say = progress;
      return new Promise<string>((_, reject) => {
        fail = reject;
      });
    };
    const signal = new AbortController().signal;
    const both = [1, 2].map((number) => shared.join("k", (phase) => said.push(`${number} ${phase}`), signal, start));
    say("pull", "x");
    fail(new Error("broken"));
    for (const each of both) await expect(each).rejects.toThrow("broken");
    expect(said).toEqual(["1 pull", "2 pull"]);
  });
});

describe("Lock", () => {
  it("runs one after the other, and lets those who wait give up", async () => {
    const lock = new Lock();
    const order: string[] = [];
    let release: () => void = () => undefined;
    const first = lock.run(async () => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      order.push("first");
    });
    const controller = new AbortController();
    const second = lock.run(async () => order.push("second"), controller.signal);
    const third = lock.run(async () => order.push("third"));
    controller.abort(new Error("gave up"));
    await expect(second).rejects.toThrow("gave up");
    await expect.poll(() => order).toEqual([]);
    release();
    await first;
    await third;
    expect(order).toEqual(["first", "third"]);
    await expect(lock.run(() => Promise.reject(new Error("own")))).rejects.toThrow("own");
  });
});
