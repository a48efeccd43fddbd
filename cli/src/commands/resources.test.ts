import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { api } from "../messages.js";
import { CliFixture } from "../testing/zonectl.js";
import { cpuShare, Meter } from "./stats.js";
import { portLine } from "./zones.js";

let cli: CliFixture;
beforeAll(async () => {
  cli = await CliFixture.make();
}, 60_000);
afterAll(() => cli.close());

beforeEach(async () => {
  await cli.run(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
});
afterEach(() => {
  for (const zone of cli.bridge.zones.values()) zone.end(api.EndCause.END_CAUSE_STOPPED, 137);
  cli.bridge.zones.clear();
});

const out = async (...args: string[]) => {
  const { code, stdout, stderr } = await cli.run(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.toString();
};
const spec = () => cli.bridge.only.message.spec;

describe("zones that run", { timeout: 60_000 }, () => {
  it("pause and unpause", async () => {
    expect(await out("pause", "web")).toBe("web\n");
    expect(await out("ls")).toContain("paused");
    expect(await out("unpause", "web")).toBe("web\n");
    expect(await cli.run(["unpause", "web"])).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/^zonectl: zone 'web' is not paused.*\n$/),
    });
  });

  it("update", async () => {
    expect(await out("update", "--memory", "1g", "--cpus", "2", "--pids-limit", "-1", "web")).toBe("web\n");
    expect(spec()).toMatchObject({ memoryBytes: 2 ** 30, cpuMillis: 2000, pidsLimit: 0 });
    expect(await cli.run(["update", "web"])).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/nothing to update/),
    });
    expect((await cli.run(["update", "--memory", "lots", "web"])).code).toBe(125);
  });

  it("rename", async () => {
    await out("rename", "web", "www");
    expect(spec().name).toBe("www");
  });

  it("stats, one turn and as JSON", async () => {
    const [header, row] = (await out("stats", "--no-stream")).split("\n");
    expect(header).toMatch(/^NAME +CPU +MEM \/ LIMIT/);
    expect(row).toMatch(/^web +50\.00% +64\.0 MiB \/ 256\.0 MiB +25\.00% +0 B \/ 0 B +0 B \/ 0 B +3 +1\.0 GiB$/);
    const lines = (await out("stats", "--no-stream", "--format", "json", "web")).trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ name: "web", memoryBytes: 64 << 20 }]);
  });

  it("top is ps", async () => {
    expect(await out("top", "web")).toBe(await out("ps", "web"));
  });

  it("port", async () => {
    cli.bridge.only.message.ports = [{ hostAddress: "127.0.0.1", hostPort: 8080, zonePort: 80 }];
    expect(await out("port", "web")).toBe("80/tcp -> 127.0.0.1:8080\n");
    expect(JSON.parse(await out("inspect", "web"))).toMatchObject([{ ports: [{ hostPort: 8080, zonePort: 80 }] }]);
    expect(portLine({ hostAddress: "::1", hostPort: 1, zonePath: "/s" })).toBe("/s -> [::1]:1");
  });
});

it("volumes", { timeout: 60_000 }, async () => {
  expect(await out("volume", "create", "--size", "2g", "data")).toBe("data\n");
  expect(await out("volume", "ls", "-q")).toBe("data\n");
  expect((await out("volume", "ls")).split("\n")[1]).toMatch(/^data +2\.0 GiB +4\.0 KiB/);
  await out("volume", "resize", "data", "4g");
  expect(JSON.parse(await out("volume", "ls", "--format", "json"))).toMatchObject([
    { name: "data", sizeBytes: 2 ** 32 },
  ]);
  await out("volume", "attach", "web", "data:/data");
  expect(spec().mounts).toMatchObject([{ volume: { name: "data" }, target: "/data" }]);
  expect((await cli.run(["volume", "attach", "web", "/srv:/data"])).code).toBe(125);
  await out("volume", "detach", "web", "data");
  expect(await out("volume", "rm", "data")).toBe("data\n");
  expect(await cli.run(["volume", "rm", "data"])).toMatchObject({
    code: 125,
    stderr: expect.stringMatching(/no volume 'data'/),
  });
});

describe("the meter of stats", () => {
  it("has no rate at first, and says what is wrong with a zone", () => {
    const meter = new Meter();
    expect(meter.row({ zoneId: "a", name: "a" })[1]).toBe("--");
    expect(meter.row({ zoneId: "b", name: "b", paused: true })[1]).toBe("paused");
    expect(meter.row({ zoneId: "c", name: "c", message: "its agent does not answer" })[1]).toContain("does not answer");
  });
  it("never goes below nothing", () => {
    const at = (seconds: number, cpuUs: number) => ({ time: { seconds, nanos: 0 }, cpuUs });
    expect(cpuShare(at(1, 5_000_000), at(2, 0))).toBe(0);
    expect(cpuShare(at(1, 0), at(1, 0))).toBeUndefined();
  });
});
