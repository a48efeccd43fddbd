import { describe, expect, it } from "vitest";
import { LIMITS } from "../limits.js";
import { LogRing } from "./log-ring.js";

describe("LogRing", () => {
  it("gives records from a cursor, 0 being the oldest", () => {
    const ring = new LogRing();
    expect(ring.from(0)).toBeUndefined();
    ring.write('{"a":1}\n');
    ring.write('{"a":2}\n');
    expect(ring.from(0)).toEqual({ record: { cursor: 1, json: '{"a":1}' }, lost: 0 });
    expect(ring.from(2)).toEqual({ record: { cursor: 2, json: '{"a":2}' }, lost: 0 });
    expect(ring.from(3)).toBeUndefined();
    expect(ring.next).toBe(3);
  });

  it("forgets the oldest and says how many are missing", () => {
    const ring = new LogRing();
    for (let i = 1; i <= LIMITS.logRecords + 10; i++) ring.write(String(i));
    expect(ring.from(0)).toEqual({ record: { cursor: 11, json: "11" }, lost: 10 });
    expect(ring.from(5)).toEqual({ record: { cursor: 11, json: "11" }, lost: 6 });
    expect(ring.from(11)).toEqual({ record: { cursor: 11, json: "11" }, lost: 0 });
  });

  it("is bounded in bytes, and leaves out what is too long for a record", () => {
    const ring = new LogRing();
    ring.write(`"${"x".repeat(LIMITS.logRecordBytes)}"`);
    expect(JSON.parse(ring.from(0)?.record.json ?? "")).toEqual({
      level: 40,
      msg: `a log record of ${LIMITS.logRecordBytes + 2} characters was left out`,
    });
    const line = "y".repeat(LIMITS.logRecordBytes);
    for (let i = 0; i < 1000; i++) ring.write(line);
    const first = ring.from(0)?.record.cursor ?? 0;
    expect((ring.next - first) * line.length).toBeLessThanOrEqual(LIMITS.logBytes);
  });

  it("tells followers until they leave", () => {
    const ring = new LogRing();
    let told = 0;
    const leave = ring.follow(() => told++);
    ring.write("1");
    leave();
    ring.write("2");
    expect(told).toBe(1);
  });
});
