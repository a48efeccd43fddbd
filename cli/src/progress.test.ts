import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { describeStep, ProgressDisplay } from "./progress.js";

describe("ProgressDisplay", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const display = (isTTY: boolean) => {
    const written: string[] = [];
    return { written, progress: new ProgressDisplay({ isTTY, columns: 40, write: (text) => written.push(text) }) };
  };

  it("says nothing of what is fast", () => {
    const { written, progress } = display(true);
    progress.update({ phase: "a", message: "working" });
    vi.advanceTimersByTime(199);
    progress.clear();
    vi.advanceTimersByTime(5_000);
    expect(written).toEqual([]);
  });

  it("rewrites one line on a terminal", () => {
    const { written, progress } = display(true);
    progress.update({ phase: "a", message: "first" });
    vi.advanceTimersByTime(200);
    progress.update({ phase: "a", message: "first" });
    progress.update({ phase: "a", message: "second", done: 1, total: 3 });
    progress.clear();
    expect(written).toEqual(["\r\x1b[Kfirst", "\r\x1b[Ksecond (33%)", "\r\x1b[K"]);
  });

  it("writes a line for each phase elsewhere, after a second", () => {
    const { written, progress } = display(false);
    progress.update({ phase: "a", message: "first" });
    vi.advanceTimersByTime(999);
    expect(written).toEqual([]);
    vi.advanceTimersByTime(1);
    progress.update({ phase: "a", message: "more of it" });
    progress.update({ phase: "b", message: "second" });
    progress.clear();
    expect(written).toEqual(["zonectl: first\n", "zonectl: second\n"]);
  });

  it("never lets a step break the line", () => {
    expect(describeStep({ message: "a\nb\x1b[K" })).toBe("a\\nb\\x1b[K");
    expect(describeStep({ phase: "boot" })).toBe("boot");
    expect(describeStep({})).toBe("working");
    const { written, progress } = display(true);
    progress.update({ message: "x".repeat(100) });
    vi.advanceTimersByTime(200);
    expect(written[0]?.length).toBeLessThanOrEqual(40 + 4);
  });
});
