import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BareZone, missingForZones } from "./testing/bare-zone.js";

/** In the place of Node: says what it finds, ends once to be started again, and powers off then. */
const AGENT = `#!/bin/busybox sh
if [ ! -e /run/second ]; then
  echo "agent first: $1 $HOME $ZONE_CMDLINE"
  sed 's/^/mounted: /' /proc/self/mounts
  echo "pid1: $(cat /proc/1/comm) $(cat /proc/1/oom_score_adj)"
  echo "agent cgroup: $(cat /proc/self/cgroup) oom $(cat /proc/self/oom_score_adj)"
  echo "cgroups: $(ls -d /sys/fs/cgroup/*/ | tr '\\n' ' ') $(cat /sys/fs/cgroup/zone/cgroup.subtree_control)"
  echo "limits: $(cat /proc/sys/fs/epoll/max_user_watches /proc/sys/fs/inotify/max_user_instances /proc/sys/fs/inotify/max_user_watches | tr '\\n' ' ')"
  echo "lo: $(cat /sys/class/net/lo/flags) root: $(touch /x 2>&1)"
  echo "fds: $(ls /proc/self/fd | tr '\\n' ' ')"
  touch /run/second
  # PID 1's one for signals is the last epoll watch that is allowed, for a while.
  echo 1 > /proc/sys/fs/epoll/max_user_watches
  (sleep 2; echo 1000 > /proc/sys/fs/epoll/max_user_watches) &
  exit 3
fi
echo "agent second"
kill -TERM 1
sleep 1000
`;

const missing = missingForZones.join(", ");

describe.skipIf(missing)(`booting a zone (needs ${missing || "what is there"})`, () => {
  let zone: BareZone;
  beforeAll(() => {
    zone = BareZone.make(AGENT);
  });
  afterAll(() => zone.remove());

  it("mounts, protects and starts the agent, starts it again, when it can, and powers off when told", async () => {
    const { console, status } = await zone.boot();
    expect(status, console).toBe(0);
    expect(console).toMatch(/agent first: \/usr\/lib\/zone\/agent.mjs \/run .*zone.test=1/);
    const mounts = [...console.matchAll(/^mounted: \S+ (\S+) (\S+) (\S+)/gm)].map(
      ([, target, type, flags]) => `${target} ${type} ${flags?.slice(0, 2)}`,
    );
    for (const mount of [
      "/ erofs ro",
      "/proc proc rw",
      "/sys sysfs rw",
      "/dev devtmpfs rw",
      "/dev/pts devpts rw",
      "/dev/shm tmpfs rw",
      "/run tmpfs rw",
      "/tmp tmpfs rw",
      "/sys/fs/cgroup cgroup2 rw",
    ]) {
      expect(mounts, console).toContain(mount);
    }
    expect(console).toMatch(/pid1: init -1000/);
    expect(console).toMatch(/agent cgroup: 0::\/agent oom -1000/);
    expect(console).toMatch(/cgroups: .*\/sys\/fs\/cgroup\/agent\/ .*\/sys\/fs\/cgroup\/zone\/ .*memory/);
    expect(console).toContain("limits: 2147483647 65536 1048576 ");
    expect(console).toMatch(/lo: 0x[0-9a-f]*[13579bdf] root: .*Read-only file system/);
    // 3 is the control socket, 4 the directory that ls reads.
    expect(console).toMatch(/fds: 0 1 2 3 4 \r?\n/);
    expect(console).toMatch(/the agent ended after \d+ ms by exit 3; next start in 0 ms/);
    expect(console).toContain("cannot start the agent: No space left on device");
    expect(console).toContain("agent second");
    expect(console).not.toContain("Kernel panic");
  });

  it("says what is missing when there is no root disk, and powers off", async () => {
    const { console, status } = await zone.boot({ disk: false });
    expect(status, console).toBe(0);
    expect(console).toContain('no disk with serial "zone-root" within 30000 ms');
    expect(console).not.toContain("Kernel panic");
  });

  it("says so when the root disk is not one", async () => {
    const empty = join(zone.dir, "empty");
    writeFileSync(empty, Buffer.alloc(1 << 20));
    const { console, status } = await zone.boot({ disk: empty });
    expect(status, console).toBe(0);
    expect(console).toMatch(/cannot mount \/dev\/vda as erofs: /);
    expect(console).not.toContain("Kernel panic");
  });
});
