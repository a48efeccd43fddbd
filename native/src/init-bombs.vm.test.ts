import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { zoneMemoryMax } from "./init-limits.js";
import { BareZone, missingForZones } from "./testing/bare-zone.js";

/**
 * In the place of the agent: lets a container take all memory, then all processes, and sees whether it can still start processes
 * itself. It ends amidst the fork bomb, so that PID 1 has to start it again then. What it starts is as the agent's children are
 * born: nothing of it is exempt from the OOM killer.
 */
const AGENT = `#!/bin/busybox sh
cgroup=/sys/fs/cgroup
bomb=$cgroup/zone/bomb
inside() { echo 0 > /proc/self/oom_score_adj; echo 0 > $bomb/cgroup.procs; }
works() {
  n=0
  while [ $n -lt 20 ]; do /bin/true || echo "fork failed"; n=$((n + 1)); done
  echo "$1: works"
}
if [ -e /run/second ]; then
  works "again"
  echo 1 > $bomb/cgroup.kill
  while grep -q "populated 1" $bomb/cgroup.events; do sleep 0.1; done
  echo "bomb: over"
  kill -TERM 1
  sleep 1000
fi
echo "memory: $(grep MemTotal /proc/meminfo | tr -s ' ') max $(cat $cgroup/zone/memory.max) agent $(cat $cgroup/agent/memory.min) $(cat $cgroup/agent/memory.low)"
echo "pids: $(cat /proc/sys/kernel/threads-max) $(cat /proc/sys/kernel/pid_max) max $(cat $cgroup/zone/pids.max) weight $(cat $cgroup/agent/cpu.weight)"
echo "controllers: $(cat $cgroup/cgroup.controllers) = $(cat $cgroup/cgroup.subtree_control) = $(cat $cgroup/zone/cgroup.subtree_control)"
mkdir $bomb
echo 1 > /proc/sys/vm/overcommit_memory
(inside; for i in 1 2 3; do tail /dev/zero 2>/dev/null & done; wait) & # of 2 GiB each
wait
echo "memory bomb: over"
echo "events: $(cat $cgroup/zone/memory.events | tr '\\n' ' ')"
works "after memory"
(inside; b() { b | b & }; b) > /dev/null 2>&1 &
n=0
while [ $n -lt 60 ] && ! grep -q "max [1-9]" $cgroup/zone/pids.events $bomb/memory.events; do sleep 0.1; n=$((n + 1)); done
echo "fork bomb: $(cat $bomb/pids.current) of $(cat $cgroup/zone/pids.max)"
works "amidst"
touch /run/second
exit 3
`;

const missing = missingForZones.join(", ");

describe.skipIf(missing)(`bombs in a container (needs ${missing || "what is there"})`, () => {
  let zone: BareZone;
  beforeAll(() => {
    zone = BareZone.make(AGENT);
  });
  afterAll(() => zone.remove());

  it.each([96, 4096])("leave PID 1 and the agent at work in a zone of %i MiB", async (memoryMiB) => {
    const { console, status } = await zone.boot({ memoryMiB });
    expect(status, console).toBe(0);
    const numbers = (pattern: RegExp) => (pattern.exec(console) ?? []).slice(1).map(Number);
    const [totalKiB = 0, max, min = 0, low] = numbers(/memory: MemTotal: (\d+) kB max (\d+) agent (\d+) (\d+)/);
    const page = (bytes: number) => bytes - (bytes % 4096);
    expect(max, console).toBe(page(zoneMemoryMax(totalKiB * 1024)));
    expect(low).toBe(page(totalKiB * 1024 - zoneMemoryMax(totalKiB * 1024)));
    expect(min).toBeGreaterThan(0);
    const [threads = 0, pids = 0, pidsMax = 0, weight] = numbers(/pids: (\d+) (\d+) max (\d+) weight (\d+)/);
    const ids = Math.min(threads, pids);
    expect(pidsMax).toBe(ids - Math.min(128 + Math.floor(ids / 8), Math.floor(ids / 2)));
    expect(weight).toBe(400);
    const [, all, root, zoneOwn] = /controllers: (.*) = (.*) = (.*?)\r?\n/.exec(console) ?? [];
    expect(all).toContain("memory");
    expect(root).toBe(all);
    expect(zoneOwn).toBe(all);

    expect(console).toContain("memory bomb: over");
    expect(console).toMatch(/events: .*oom_kill [1-9]/);
    for (const when of ["after memory", "amidst", "again"]) expect(console).toContain(`${when}: works`);
    expect(console).toContain("bomb: over");
    expect(console).not.toMatch(/fork failed|cannot set|cannot start the agent|Kernel panic/);
  });
});
