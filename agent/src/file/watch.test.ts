import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { collect } from "./testing/client.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { at, put } = zone;

describe("Watch", () => {
  async function changes(path: string, act: () => void, last: string): Promise<string[]> {
    const call = zone.agent.files.watch({ path });
    const seen: string[] = [];
    call.on("error", () => {});
    const over = new Promise<void>((resolve) => {
      call.on("end", resolve);
      call.on("data", ({ subscribed, changed }) => {
        if (subscribed) return act();
        const one = `${changed?.change} ${changed?.name}`;
        if (seen.at(-1) !== one) seen.push(one);
        if (one === last) resolve();
      });
    });
    await over;
    call.cancel();
    return seen;
  }

  it("tells what happens in a directory", async () => {
    put("d/old", "x");
    const act = () => {
      writeFileSync(at("d/new"), "x");
      chmodSync(at("d/new"), 0o600);
      execFileSync("mv", [at("d/old"), at("d/moved")]);
      rmSync(at("d/new"));
      mkdirSync(at("d/last"));
    };
    expect(await changes("/d", act, "created last")).toEqual([
      ...["created new", "modified new", "attributes new", "moved old", "moved moved", "removed new", "created last"],
    ]);
  });

  it("tells what happens to a file, up to its end", async () => {
    put("f", "x");
    symlinkSync("f", at("l"));
    const act = () => {
      writeFileSync(at("f"), "more");
      execFileSync("mv", [at("f"), at("g")]);
      rmSync(at("g"));
    };
    expect(await changes("/l", act, "")).toEqual(["modified ", "moved ", "attributes ", "removed "]);
  });

  it("counts what it loses, and leaves no descriptor", async () => {
    mkdirSync(at("d"));
    const before = zone.agent.descriptors("agent");
    const call = zone.agent.files.watch({ path: "/d" });
    call.on("error", () => {});
    await once(call, "data");
    call.pause();
    const long = "x".repeat(200); // so that few fill what the connection takes
    for (let i = 0; i < 15_000; i++) {
      mkdirSync(at(`d/${long}${i % 2}`));
      rmdirSync(at(`d/${long}${i % 2}`));
    }
    let [got, lost] = [0, 0];
    const counted = new Promise<void>((resolve) => {
      call.on("data", ({ changed, lost: gap }) => {
        if (changed) got += 1;
        lost += Number(gap?.count ?? 0);
        if (lost > 0) resolve();
      });
    });
    call.resume();
    await counted;
    expect(got).toBeGreaterThan(1000);
    call.cancel();
    await expect.poll(() => zone.agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
    await expect(collect(zone.agent.files.watch({ path: "/none" }))).rejects.toMatchObject({
      reason: "FILE_NOT_FOUND",
    });
  });

  it("says when the kernel has no more", async () => {
    const limit = Number(readFileSync("/proc/sys/fs/inotify/max_user_instances", "utf8"));
    if (limit > 1000) return;
    const calls = Array.from({ length: limit + 1 }, () => zone.agent.files.watch({ path: "/" }));
    const reasons = calls.map(
      (call) =>
        new Promise<string>((resolve) => {
          call.on("data", () => resolve("subscribed"));
          call.on("error", (error) => resolve(error.message));
        }),
    );
    expect((await Promise.all(reasons)).some((reason) => reason.includes("no room for another watch"))).toBe(true);
    for (const call of calls) call.cancel();
  });
});
