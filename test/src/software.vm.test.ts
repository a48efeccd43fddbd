import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";
import { Connection, postgres, redis, whenAnswering } from "./harness/clients.js";
import { addImage, debianTarball, push } from "./harness/images.js";
import { Registry } from "./harness/registry.js";

const START_MS = 240_000;
const PACKAGES = ["postgresql", "nginx-light", "redis-server", "gcc", "libc6-dev", "make"];

/** What people run: Debian's own PostgreSQL, nginx, redis and gcc, from a registry. */
describe("real software", () => {
  const work = mkdtempSync(join(tmpdir(), "zone-software-"));
  let bridge: TestBridge;
  let registry: Registry;
  let image = "";

  beforeAll(async () => {
    bridge = await TestBridge.start();
    registry = await Registry.start(join(work, "registry"));
    const layout = join(work, "layout");
    await addImage(layout, "software", await debianTarball("software", PACKAGES), ["--config.cmd", "/bin/bash"]);
    image = await push(registry, layout, "software");
  }, 900_000);

  afterAll(async () => {
    await bridge.close();
    await bridge.volumes.remove({ name: "pgdata" }).catch(() => {}); // left by a test that has failed
    await registry.stop();
    rmSync(work, { recursive: true });
  });

  const run = (name: string, flags: string[], script: string) =>
    bridge.detached(name, ["/bin/bash", "-c", script], flags, image);

  /** The host port of the zone's published port. */
  async function portOf(name: string, zonePort: number): Promise<number> {
    const { stdout } = await bridge.zonectl(["port", name]);
    const port = new RegExp(`^${zonePort}/tcp -> 127\\.0\\.0\\.1:(\\d+)$`, "m").exec(stdout.toString())?.[1];
    expect(port, stdout.toString()).toBeDefined();
    return Number(port);
  }

  async function stopAndRemove(name: string): Promise<void> {
    expect((await bridge.zonectl(["stop", "-t", "120", name])).code).toBe(0);
    expect((await bridge.zonectl(["rm", name])).code).toBe(0);
  }

  test("PostgreSQL keeps its data on a volume, whatever becomes of its zones", async () => {
    const script = `
      set -e
      bin=$(echo /usr/lib/postgresql/*/bin)
      data=/var/lib/postgresql/data/cluster
      if [ ! -e $data ]; then
        install -d -o postgres -m 700 $data
        setpriv --reuid=postgres --regid=postgres --init-groups $bin/initdb --auth=trust --no-sync -D $data >/dev/null
        echo 'host all all 10.0.2.15/32 trust' >> $data/pg_hba.conf # whom a published port's clients come from
      fi
      exec setpriv --reuid=postgres --regid=postgres --init-groups $bin/postgres -D $data \\
        -c 'listen_addresses=*' -c unix_socket_directories=/tmp`;
    const flags = ["--memory", "512m", "-v", "pgdata:/var/lib/postgresql/data", "-p", "5432", "--stop-signal", "INT"];

    await run("pg", flags, script);
    const first = await portOf("pg", 5432);
    await whenAnswering(() => postgres(first, "SELECT 1"), START_MS);
    await postgres(first, "CREATE TABLE kept (number int); INSERT INTO kept SELECT generate_series(1, 1000)");
    const taken = await bridge.zonectl(["run", "--rm", "-v", "pgdata:/data", image, "true"]);
    expect(taken).toMatchObject({ code: 125, stderr: expect.stringMatching(/pgdata.* pg/) });
    await stopAndRemove("pg");

    // Once more, and this time it is killed in the middle of its work: what was committed is there nevertheless.
    await run("pg2", flags, script);
    const second = await portOf("pg2", 5432);
    const sum = "SELECT count(*), sum(number) FROM kept";
    expect(await whenAnswering(() => postgres(second, sum), START_MS)).toEqual([["1000", "500500"]]);
    await postgres(second, "INSERT INTO kept VALUES (1000000)");
    expect((await bridge.zonectl(["rm", "-f", "pg2"])).code).toBe(0);

    await run("pg3", flags, script);
    const third = await portOf("pg3", 5432);
    expect(await whenAnswering(() => postgres(third, sum), START_MS)).toEqual([["1001", "1500500"]]);
    await stopAndRemove("pg3");
    expect((await bridge.zonectl(["volume", "rm", "pgdata"])).code).toBe(0);
  }, 900_000);

  test("nginx serves a folder of this host, read-only, through a published port", async () => {
    const site = mkdtempSync(join(work, "site-"));
    for (const folder of [work, site]) chmodSync(folder, 0o755); // nginx's workers are www-data
    writeFileSync(join(site, "index.html"), "from the host\n");
    await run("web", ["-v", `${site}:/var/www/html:ro`, "-p", "80"], "exec nginx -g 'daemon off;'");
    const address = `http://127.0.0.1:${await portOf("web", 80)}/`;
    const get = async (path = "") => {
      const answer = await fetch(address + path, { headers: { connection: "close" } });
      return answer.ok ? answer.text() : `${answer.status}`;
    };
    expect(await whenAnswering(() => get(), START_MS)).toBe("from the host\n");
    writeFileSync(join(site, "later.txt"), "seen at once\n");
    expect(await get("later.txt")).toBe("seen at once\n");
    expect(await get("none")).toBe("404");
    const write = await bridge.zonectl(["exec", "web", "sh", "-c", "echo x > /var/www/html/index.html"]);
    expect(write.stderr).toContain("Read-only file system");
    await stopAndRemove("web");
  });

  test("a build that wants more memory than it may is killed, and that is said", async () => {
    // A table of a million numbers takes the compiler a hundred MiB and more.
    const script = `
      cd /tmp
      { echo 'int table[] = {'; seq -s, 1 1000000; echo '}; int main(void) { return table[0] - 1; }'; } > big.c
      printf 'big: big.c\\n\\tgcc -o big big.c\\n' > Makefile
      make big && ./big`;
    await run("build", ["--memory", "512m", "--memory-limit", "96m"], script);
    expect((await bridge.zonectl(["wait", "build"])).stdout.toString()).toBe("2\n");
    const { zone } = await bridge.zones.get({ zone: "build" });
    expect(zone).toMatchObject({ oomKilled: true });
    expect(zone?.endMessage).toMatch(/out of memory/);
    expect((await bridge.zonectl(["logs", "build"])).stderr).toMatch(/[Kk]illed/);

    const enough = await bridge.zonectl(["run", "--rm", "--memory", "1g", image, "/bin/bash", "-c", script]);
    expect(enough).toMatchObject({ code: 0 });
  }, 900_000);

  test("redis goes on after a pause as if nothing had been", async () => {
    await run("cache", ["-p", "6379"], "exec redis-server --bind 0.0.0.0 --protected-mode no --save ''");
    const port = await portOf("cache", 6379);
    const connection = await whenAnswering(async () => {
      const opened = await Connection.open(port);
      expect(await redis(opened, "PING")).toBe("+PONG");
      return opened;
    }, START_MS);
    expect(await redis(connection, "SET colour blue")).toBe("+OK");
    expect((await bridge.zonectl(["pause", "cache"])).code).toBe(0);
    const refused = await bridge.zonectl(["exec", "cache", "true"]);
    expect(refused).toMatchObject({ code: 125, stderr: expect.stringMatching(/paused/) });
    const answer = redis(connection, "GET colour");
    const early = await Promise.race([answer, new Promise((resolve) => setTimeout(() => resolve("silence"), 1000))]);
    expect(early).toBe("silence");
    expect((await bridge.zonectl(["unpause", "cache"])).code).toBe(0);
    expect(await answer).toBe("blue");
    const { stdout } = await bridge.zonectl(["exec", "cache", "date", "+%s%3N"]);
    expect(Math.abs(Date.now() - Number(stdout.toString()))).toBeLessThan(60_000);
    connection.close();
    await stopAndRemove("cache");
  });
});
