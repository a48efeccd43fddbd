// Containers, mounts and files: what the agent does beside running processes.
import { argv, exec, inZone, type TestBridge } from "@zone/test/harness";
import { round, summary, timed } from "./statistics.js";

const MiB = 1 << 20;
const CHUNK = 256 * 1024;
const ROOTFS = { blockSerial: "w0", fsType: "erofs" };

type Report = (name: string, value: Record<string, number>) => void;

/** The least of an OCI bundle: /bin/true, with the mounts that every container has. */
const BUNDLE = Buffer.from(
  JSON.stringify({
    ociVersion: "1.0.2",
    root: { path: "rootfs" },
    process: { user: { uid: 0, gid: 0 }, args: ["/bin/true"], cwd: "/", env: ["PATH=/bin"] },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
    ],
    linux: { namespaces: ["pid", "mount", "ipc", "uts"].map((type) => ({ type })) },
  }),
);

/** A container's whole life; of the zone's own making, and by crun from an OCI bundle. */
export async function containers(bridge: TestBridge, zone: string, rounds: number, report: Report): Promise<void> {
  const call = inZone(zone);
  const life = (request: object, spec: object) => async () => {
    await bridge.container.create({ id: "bench", rootfs: ROOTFS, ...request }, call);
    await bridge.process_.start({ spec: { id: "bench", containerId: "bench", init: true, ...spec } }, call);
    await bridge.process_.wait({ id: "bench" }, call);
    await bridge.process_.delete({ id: "bench" }, call);
    await bridge.container.delete({ id: "bench" }, call);
  };
  const kinds: [string, () => Promise<void>][] = [
    ["container, create to removal, ms", life({}, { argv: argv("/bin/true") })],
    ["container of an OCI bundle, create to removal, ms", life({ ociConfig: BUNDLE }, {})],
  ];
  for (const [name, once] of kinds) {
    await once(); // the first one runs code that nothing has run yet
    const samples: number[] = [];
    for (let index = 0; index < rounds; index++) samples.push(await timed(once));
    report(name, summary(samples));
  }
  const inContainer: number[] = [];
  const inZoneItself: number[] = [];
  for (let index = 0; index < rounds; index++) {
    inContainer.push(await timed(() => exec(bridge, zone, { containerId: "main", argv: argv("/bin/true") })));
    inZoneItself.push(await timed(() => exec(bridge, zone, { argv: argv("/sbin/zone-init", "--true") })));
  }
  report("exec into a container, ms", summary(inContainer));
  report("exec in the zone itself, ms", summary(inZoneItself));
}

export async function mounts(bridge: TestBridge, zone: string, rounds: number, report: Report): Promise<void> {
  const call = inZone(zone);
  const mount = { type: "tmpfs", target: "bench", options: ["size=1m"] };
  const [on, off]: number[][] = [[], []];
  for (let index = 0; index < rounds; index++) {
    on?.push(await timed(() => bridge.mount.mount({ mount }, call)));
    off?.push(await timed(() => bridge.mount.unmount({ target: mount.target }, call)));
  }
  report("mount a tmpfs, ms", summary(on ?? []));
  report("unmount it, ms", summary(off ?? []));
}

/** A file in and out over the File service, beside `rawIn` and `rawOut`, the MiB/s of the bare port. */
export async function copies(
  bridge: TestBridge,
  zone: string,
  bytes: number,
  raw: { into: number; out: number },
  report: Report,
): Promise<void> {
  const call = inZone(zone);
  const perSecond = (ms: number) => round(bytes / MiB / (ms / 1000));
  const place = { containerId: "main", path: "/tmp/bench" };
  const into = perSecond(await timed(() => write(bridge, place, bytes, zone)));
  report("file into a zone, MiB/s", { in: into, raw: raw.into, ratio: round(into / raw.into) });
  let read = 0;
  const reading = timed(async () => {
    for await (const { data } of bridge.file.read(place, call)) read += data?.length ?? 0;
  });
  const out = perSecond(await reading);
  if (read !== bytes) throw new Error(`read ${read} of ${bytes} bytes`);
  report("file out of a zone, MiB/s", { out, raw: raw.out, ratio: round(out / raw.out) });
  await bridge.file.remove(place, call);
}

async function write(
  bridge: TestBridge,
  place: { containerId: string; path: string },
  bytes: number,
  zone: string,
): Promise<void> {
  const { requests, response } = bridge.file.write(inZone(zone));
  response.catch(() => {}); // awaited at the end
  const data = Buffer.alloc(CHUNK, "zone");
  requests.write({ open: { ...place, size: bytes } });
  for (let sent = 0; sent < bytes; sent += CHUNK) {
    if (!requests.write({ data })) await new Promise((resolve) => requests.once("drain", resolve));
  }
  requests.end();
  await response;
}
