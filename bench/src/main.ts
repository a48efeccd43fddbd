// npm run bench [-- --quick]: measures zones against the raw transport in the same run. Prints a table, and writes JSON to
// .cache/bench.json. Times are of this machine and hour; only ratios within a run mean something.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fromDuration } from "@zone/proto";
import { argv, exec, inZone, repository, TestBridge } from "@zone/test/harness";
import { bootRawPort } from "./raw-port.js";
import { concurrently, round, summary, timed } from "./statistics.js";
import { containers, copies, mounts } from "./surface.js";

const quick = process.argv.includes("--quick");
const MiB = 1 << 20;
const results: Record<string, unknown> = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version };

function report(name: string, value: Record<string, number>): void {
  results[name] = value;
  const cells = Object.entries(value).map(([key, number]) => `${key} ${number}`);
  process.stdout.write(`${name.padEnd(46)} ${cells.join("   ")}\n`);
}

/** Private memory of a process in MiB: what one more zone costs the host. */
function privateMiB(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)].reduce((sum, [, value]) => sum + Number(value), 0);
  return round(kib / 1024);
}

async function startZone(bridge: TestBridge, name: string, ...flags: string[]) {
  await bridge.detached(name, ["sleep", "100000"], flags);
  const { zone } = await bridge.zones.get({ zone: name });
  if (!zone) throw new Error(`no zone ${name}`);
  return zone;
}

/** New zones: cold, and from the template, to the agent's first answer and to the first exec's exit status. */
async function newZones(bridge: TestBridge): Promise<void> {
  for (const [label, flags, rounds] of [
    ["cold boot", ["--cold"], quick ? 1 : 3],
    ["template", [], quick ? 3 : 15],
  ] as const) {
    const agent: number[] = [];
    const main: number[] = [];
    const firstExec: number[] = [];
    for (let index = 0; index < rounds; index++) {
      const zone = await startZone(bridge, "new", ...flags);
      agent.push(fromDuration(zone.agentReadyAfter) ?? Number.NaN);
      const started = fromDuration(zone.mainStartedAfter) ?? Number.NaN;
      main.push(started);
      firstExec.push(
        started + (await timed(() => exec(bridge, "new", { containerId: "main", argv: argv("/bin/true") }))),
      );
      await bridge.zones.delete({ zone: "new", force: true });
    }
    report(`${label}: agent's first answer, ms`, summary(agent));
    report(`${label}: main process running, ms`, summary(main));
    report(`${label}: first exec's exit status, ms`, summary(firstExec));
  }
}

async function execs(bridge: TestBridge): Promise<void> {
  const one = async () => {
    const { id } = await exec(bridge, "bench", { containerId: "main", argv: argv("/bin/true") });
    await bridge.process_.delete({ id }, inZone("bench"));
  };
  await concurrently(20, 1, one);
  for (const width of [1, 10, 100]) {
    const count = quick ? 2 * width : Math.max(200, 5 * width);
    const took = { ms: 0 };
    let samples: number[] = [];
    took.ms = await timed(async () => {
      samples = await concurrently(count, width, one);
    });
    report(`exec /bin/true, ${width} at once, ms`, { ...summary(samples), perSecond: round((count / took.ms) * 1000) });
  }
}

/** Throughput of stdio beside the same bytes on the bare port. */
async function throughput(bridge: TestBridge): Promise<{ into: number; out: number }> {
  const raw = await bootRawPort();
  const size = (quick ? 8 : 64) * MiB;
  const perSecond = (ms: number) => round(size / MiB / (ms / 1000));
  const pings = [];
  for (let index = 0; index < 200; index++) pings.push(await timed(() => raw.ping()));
  report("raw port: ping-pong, ms", summary(pings));
  const rawOut = perSecond(await timed(() => raw.receive(size)));
  for (const chunk of [32768, 65536, 262144, 1048576]) {
    const script = `dd if=/dev/zero bs=${chunk} count=${size / chunk} 2>/dev/null`;
    const out = perSecond(
      await timed(() => exec(bridge, "bench", { containerId: "main", argv: argv("sh", "-c", script) })),
    );
    report(`stdout, chunks of ${chunk}, MiB/s`, { out, raw: rawOut, ratio: round(out / rawOut) });
  }
  const input = Buffer.alloc(size);
  const spec = { containerId: "main", argv: argv("sh", "-c", "cat >/dev/null"), stdin: true };
  for (const chunk of [32768, 65536, 262144]) {
    const rawIn = perSecond(await timed(() => raw.send(size, chunk)));
    const into = perSecond(await timed(() => exec(bridge, "bench", spec, input, chunk)));
    report(`stdin, chunks of ${chunk}, MiB/s`, { in: into, raw: rawIn, ratio: round(into / rawIn) });
  }
  const into = perSecond(await timed(() => raw.send(size, 262_144)));
  await raw.close();
  return { into, out: rawOut };
}

async function memory(bridge: TestBridge): Promise<void> {
  const info = await bridge.system.info({}, inZone("bench"));
  report("agent, after all of it, MiB", {
    rss: round((info.agentRssBytes ?? 0) / MiB),
    pss: round((info.agentPssBytes ?? 0) / MiB),
  });
  const zones = [];
  for (let index = 0; index < (quick ? 2 : 5); index++) zones.push(await startZone(bridge, `idle${index}`));
  report("one more idle zone: private MiB of its VMM", summary(zones.map(({ vmmPid }) => privateMiB(vmmPid ?? 0))));
  const idle = await bridge.system.info({}, inZone("idle0"));
  report("agent, idle, MiB", {
    rss: round((idle.agentRssBytes ?? 0) / MiB),
    pss: round((idle.agentPssBytes ?? 0) / MiB),
  });
}

const bridge = await TestBridge.start();
try {
  await startZone(bridge, "bench");
  await newZones(bridge);
  await execs(bridge);
  const raw = await throughput(bridge);
  const rounds = quick ? 3 : 20;
  await containers(bridge, "bench", rounds, report);
  await mounts(bridge, "bench", rounds, report);
  await copies(bridge, "bench", (quick ? 8 : 64) * MiB, raw, report);
  await memory(bridge);
} finally {
  await bridge.close();
}
writeFileSync(join(repository, ".cache", "bench.json"), `${JSON.stringify(results, null, 2)}\n`);
