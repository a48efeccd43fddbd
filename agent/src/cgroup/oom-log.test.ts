import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OomLog } from "./oom-log.js";

const chosen = (path: string, command: string, pid: number) =>
  `6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=main,mems_allowed=0,oom_memcg=/zone/main,task_memcg=${path},task=${command},pid=${pid},uid=0\n`;
const killed = (command: string, pid: number) =>
  `3,2,2,-;Memory cgroup out of memory: Killed process ${pid} (${command}) total-vm:9kB, anon-rss:8kB, file-rss:4kB, shmem-rss:2kB, UID:0 pgtables:1kB oom_score_adj:0\n SUBSYSTEM=memory\n`;

describe("OomLog", () => {
  it("knows who was killed in which cgroup, once", () => {
    const log = new OomLog("/nonexistent");
    log.record(chosen("/zone/web", "cc1", 41));
    log.record(killed("cc1", 41));
    log.record(chosen("/zone/db", "a,pid=1,uid=0 (x) total-vm:1kB", 42));
    log.record(killed("a,pid=1,uid=0 (x) total-vm:1kB", 42));
    const sizes = { anonymousBytes: 8192, fileBytes: 4096, sharedBytes: 2048 };
    expect(log.take("web")).toEqual([{ pid: 41, command: "cc1", ...sizes }]);
    expect(log.take("web")).toEqual([]);
    expect(log.take("db")).toEqual([{ pid: 42, command: "a,pid=1,uid=0 (x", ...sizes }]);
  });

  it("does not believe what a process has written to the kernel's log", () => {
    const log = new OomLog("/nonexistent");
    log.record(chosen("/zone/web", "cc1", 41).replace(/^6/, "14")); // facility 1: user
    log.record(killed("cc1", 41));
    expect(log.take("web")).toEqual([]);
  });

  it("leaves the agent's own cgroup out", () => {
    const log = new OomLog("/nonexistent");
    log.record(chosen("/agent", "node", 7));
    log.record(killed("node", 7));
    expect(log.take("")).toEqual([]);
  });

  it("remembers no more than it may", () => {
    const log = new OomLog("/nonexistent");
    for (let pid = 1; pid <= 1000; pid++) {
      log.record(chosen("/zone/web", "x", pid));
      log.record(killed("x", pid));
    }
    expect(log.take("web").length).toBe(256);
  });

  it("takes any record", () => {
    const log = new OomLog("/nonexistent");
    fc.assert(fc.property(fc.string(), (record) => log.record(record)));
  });
});
