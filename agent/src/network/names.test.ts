import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { etcFiles, keepNames, overwrite, rewriteEtcFiles } from "../container/etc-files.js";
import { failureOf, OwnNetwork } from "./testing/own-network.js";

const work = mkdtempSync(join(tmpdir(), "zone-names-"));
let net: OwnNetwork;

beforeAll(async () => {
  net = await OwnNetwork.start();
});
afterAll(async () => {
  await net.agent.stop();
  rmSync(work, { recursive: true });
});

const rpc = () => net.agent.network;
const DNS = { nameservers: ["10.0.2.3", "fe80::3%eth0"], searches: ["example.org", "lan"], options: ["ndots:2"] };
const HOSTS = [{ address: "10.0.0.7", names: ["db", "db.lan"] }];

/** A container's folder with its two files, as the agent makes it. */
function makeContainer(directory: string, id: string, nameservers: string[]) {
  const base = join(directory, id);
  mkdirSync(join(base, "etc"), { recursive: true });
  const own = { hostname: id, hosts: [{ address: "10.1.1.1", names: ["own"] }], nameservers };
  keepNames(base, own);
  const files = etcFiles(own);
  for (const name of ["hosts", "resolv.conf"]) writeFileSync(join(base, "etc", name), files[name] ?? "");
  return (name: string) => readFileSync(join(base, "etc", name), "utf8");
}

describe("SetDns and SetHosts", () => {
  it("rewrite the files of containers, but for name servers of their own", async () => {
    const directory = join(net.agent.directory, "run", "containers");
    const plain = makeContainer(directory, "plain", []);
    const own = makeContainer(directory, "own", ["192.0.2.53"]);
    await rpc().setDns({ dns: DNS });
    await rpc().setHosts({ hosts: HOSTS });
    expect(plain("resolv.conf")).toBe(
      "nameserver 10.0.2.3\nnameserver fe80::3%eth0\nsearch example.org lan\noptions ndots:2\n",
    );
    expect(own("resolv.conf")).toBe("nameserver 192.0.2.53\nsearch example.org lan\noptions ndots:2\n");
    expect(plain("hosts")).toMatch(/127\.0\.1\.1\tplain\n10\.1\.1\.1\town\n10\.0\.0\.7\tdb db\.lan\n$/);
    await rpc().setHosts({ hosts: [] });
    expect(plain("hosts")).toMatch(/127\.0\.1\.1\tplain\n10\.1\.1\.1\town\n$/);
    await rpc().setDns({});
    expect(plain("resolv.conf")).toBe("");
    rmSync(directory, { recursive: true });
  });

  it("write the zone's own files, and are known to a restarted agent", async () => {
    await rpc().setDns({ dns: DNS });
    await rpc().setHosts({ hosts: HOSTS });
    const etc = join(net.agent.directory, "run", "etc");
    expect(readFileSync(join(etc, "resolv.conf"), "utf8")).toContain("nameserver 10.0.2.3\n");
    expect(readFileSync(join(etc, "hosts"), "utf8")).toContain("10.0.0.7\tdb db.lan\n");
    await net.agent.killAgent();
    const directory = join(net.agent.directory, "run", "containers");
    const later = makeContainer(directory, "later", []);
    await rpc().setHosts({ hosts: [] });
    expect(later("resolv.conf")).toContain("search example.org lan\n");
    rmSync(directory, { recursive: true });
  });

  it("come with Configure as well", async () => {
    await rpc().configure({ dns: { nameservers: ["10.0.2.9"] } });
    await rpc().configure({});
    expect(readFileSync(join(net.agent.directory, "run", "etc", "resolv.conf"), "utf8")).toBe("nameserver 10.0.2.9\n");
  });

  it.each([
    ["INVALID_DNS", { nameservers: Array<string>(17).fill("10.0.0.1") }],
    ["INVALID_DNS", { nameservers: ["10.0.0.1/8"] }],
    ["INVALID_DNS", { searches: ["x".repeat(254)] }],
  ])("%s: %j", async (reason, dns) => {
    expect(await failureOf(rpc().setDns({ dns }))).toMatchObject({ code: "INVALID_ARGUMENT", reason });
  });

  it.each([
    ["INVALID_ADDRESS", { address: "db", names: ["db"] }],
    ["INVALID_HOSTNAME", { address: "10.0.0.7", names: [] }],
    ["INVALID_HOSTNAME", { address: "10.0.0.7", names: ["a b"] }],
    ["INVALID_HOSTNAME", { address: "10.0.0.7", names: ["db\n10.0.0.8 evil"] }],
  ])("%s: %j", async (reason, entry) => {
    expect(await failureOf(rpc().setHosts({ hosts: [entry] }))).toMatchObject({ code: "INVALID_ARGUMENT", reason });
  });
});

describe("a file that is rewritten", () => {
  it("stays the file that it was, whether it grows or shrinks", () => {
    const file = join(work, "hosts");
    writeFileSync(file, "short\n");
    const { ino } = statSync(file);
    for (const text of ["a much longer text than before\n", "short again\n", ""]) {
      overwrite(file, text);
      expect(readFileSync(file, "utf8")).toBe(text);
      expect(statSync(file).ino).toBe(ino);
    }
  });

  it("that cannot be written is told, and the others are written", () => {
    const directory = join(work, "containers");
    makeContainer(directory, "a", []);
    const b = makeContainer(directory, "b", []);
    rmSync(join(directory, "a/etc/hosts"));
    mkdirSync(join(directory, "a/etc/hosts"));
    mkdirSync(join(directory, "half-made"));
    const troubles: string[] = [];
    rewriteEtcFiles(directory, { dns: undefined, hosts: HOSTS }, (path) => troubles.push(path));
    expect(troubles).toEqual([join(directory, "a/etc/hosts")]);
    expect(b("hosts")).toContain("db.lan");
  });
});

describe("SetHostname", () => {
  it("names the zone", async () => {
    await rpc().setHostname({ hostname: "web-1" });
    expect(net.run("hostname")).toBe("web-1\n");
    for (const hostname of ["", "a b", "x".repeat(64)]) {
      expect(await failureOf(rpc().setHostname({ hostname }))).toMatchObject({ reason: "INVALID_HOSTNAME" });
    }
  });
});

describe("sysctls", () => {
  it("are read and set, with dots or slashes", async () => {
    net.addPair("eth0.5", "far");
    await expect(rpc().getSysctl({ name: "kernel.ostype" })).resolves.toMatchObject({ value: "Linux" });
    await rpc().setSysctl({ name: "net.ipv4.ip_forward", value: "1" });
    await expect(rpc().getSysctl({ name: "net/ipv4/ip_forward" })).resolves.toMatchObject({ value: "1" });
    await rpc().setSysctl({ name: "net.ipv4.ping_group_range", value: "0 100" });
    await expect(rpc().getSysctl({ name: "net.ipv4.ping_group_range" })).resolves.toMatchObject({ value: "0\t100" });
    for (const name of ["net/ipv6/conf/eth0.5/accept_ra", "net.ipv6.conf.eth0/5.accept_ra"]) {
      await rpc().setSysctl({ name, value: "0" });
      await expect(rpc().getSysctl({ name })).resolves.toMatchObject({ value: "0" });
    }
    net.ip("link", "del", "far");
  });

  it.each([
    ["INVALID_SYSCTL", "", "1"],
    ["INVALID_SYSCTL", "net", "1"],
    ["INVALID_SYSCTL", "../../etc/passwd", "1"],
    ["INVALID_SYSCTL", "net/ipv4/../../../../etc/passwd", "1"],
    ["INVALID_SYSCTL", "net.ipv4.ip_forward", "many"],
    ["INVALID_SYSCTL", "net.ipv4.ip_forward", "1\n2"],
    ["INVALID_SYSCTL", "net.ipv4.ip_forward", "1".repeat(5000)],
    ["SYSCTL_UNKNOWN", "net.ipv4.conf.none.forwarding", "1"],
    ["SYSCTL_NOT_ALLOWED", "kernel.core_pattern", "|/bin/sh"],
    ["SYSCTL_NOT_ALLOWED", "kernel.modprobe", "/bin/sh"],
    ["SYSCTL_NOT_ALLOWED", "vm.overcommit_memory", "1"],
    ["SYSCTL_NOT_ALLOWED", "net.core.bpf_jit_enable", "0"],
    ["SYSCTL_NOT_ALLOWED", "net.nothing", "0"],
  ])("%s: %s = %.20s", async (reason, name, value) => {
    expect(await failureOf(rpc().setSysctl({ name, value }))).toMatchObject({ reason });
  });

  it.each([
    ["SYSCTL_UNKNOWN", "net.ipv4.nothing"],
    ["SYSCTL_UNKNOWN", "net.ipv4"],
    ["SYSCTL_UNKNOWN", "net.ipv4.route.flush"],
    ["INVALID_SYSCTL", "/etc/passwd"],
  ])("%s: reading %s", async (reason, name) => {
    expect(await failureOf(rpc().getSysctl({ name }))).toMatchObject({ reason });
  });
});

describe("a template", () => {
  it("takes no network work before it is renewed", async () => {
    const template = await OwnNetwork.start({}, "zone.template=1");
    const calls = [
      template.agent.network.listLinks({}),
      template.agent.network.configure({}),
      template.agent.network.setDns({}),
      template.agent.network.getSysctl({ name: "kernel.ostype" }),
    ];
    for (const call of calls) expect(await failureOf(call)).toMatchObject({ reason: "ZONE_NOT_RENEWED" });
    const forward = template.agent.network.forward();
    const failed = new Promise((_, reject) => forward.on("error", reject));
    expect(await failureOf(failed)).toMatchObject({ reason: "ZONE_NOT_RENEWED" });
    await template.agent.stop();
  });
});
