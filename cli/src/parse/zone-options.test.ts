import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { api } from "../messages.js";
import { mergeFiles, parseMount, parseSecret, parseTmpfs, parseVolume } from "./mounts.js";
import { parseForward, parsePublish } from "./ports.js";
import { parseOomScore, parsePidsLimit, parseSecurity, parseUlimit } from "./security.js";
import { UsageError } from "./usage-error.js";
import { type ZoneOptions, zoneOptions } from "./zone-options.js";

const NONE: ZoneOptions = {
  ...{ volume: [], mount: [], tmpfs: [], secret: [], publish: [], dns: [], dnsSearch: [], dnsOption: [], addHost: [] },
  ...{ capAdd: [], capDrop: [], securityOpt: [], ulimit: [], device: [], groupAdd: [], sysctl: [] },
};
/** Whatever is given, the answer is a mapping or a usage error. */
const isTotal = (parse: (text: string) => unknown) =>
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parse(text);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
      }
    }),
  );

describe("volumes", () => {
  it.each([
    ["/srv:/data", { host: { path: "/srv" }, target: "/data" }],
    ["./src:/src:ro", { host: { path: "/work/src" }, target: "/src", readOnly: true }],
    ["..:/up", { host: { path: "/" }, target: "/up" }],
    ["db:/var/lib/db", { volume: { name: "db", noCopy: false }, target: "/var/lib/db" }],
    ["db:/d:ro,nocopy,z", { volume: { name: "db", noCopy: true }, target: "/d", readOnly: true }],
  ])("%s", (text, mount) => expect(parseVolume(text, "/work")).toEqual(mount));
  it.each(["", "/data", ":/x", "a:b", "a:/", "a:/x/../y", "a:/x:rx", "a:/x:ro:z", "-a:/x", "a b:/x"])(
    "refuses %j",
    (text) => {
      expect(() => parseVolume(text, "/")).toThrow(UsageError);
    },
  );
  it("takes any text", () => isTotal((text) => parseVolume(text, "/")));
});

describe("--mount", () => {
  it.each([
    [
      "type=bind,source=a,target=/b,readonly",
      { host: { path: "/w/a", mustExist: true }, target: "/b", readOnly: true },
    ],
    ["src=v,dst=/b,volume-nocopy", { volume: { name: "v", noCopy: true }, target: "/b", readOnly: false }],
    [
      "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1777",
      { tmpfs: { options: ["size=1048576", "mode=1777"] }, target: "/t", readOnly: false },
    ],
  ])("%s", (text, mount) => expect(parseMount(text, "/w")).toEqual(mount));
  it.each([
    "",
    "type=nfs,target=/x",
    "type=bind,target=/x",
    "type=volume,target=/x",
    "type=tmpfs,target=/x,source=y",
    "target=x",
  ])("refuses %j", (text) => expect(() => parseMount(text, "/")).toThrow(UsageError));
});

it("--tmpfs has docker's options", () => {
  expect(parseTmpfs("/run")).toEqual({ target: "/run", readOnly: false, tmpfs: { options: [] } });
  expect(parseTmpfs("/run:rw,size=64m,exec")).toMatchObject({ tmpfs: { options: ["size=64m", "exec"] } });
});

describe("secrets", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "zone-secret-"));
    writeFileSync(join(folder, "token"), "s3cret");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("are files in the zone's memory", () => {
    const data = Buffer.from("s3cret");
    expect(parseSecret("token", folder)).toEqual({
      ...{ target: "/run/secrets", readOnly: true },
      files: { files: [{ path: "token", data, mode: 0o400 }] },
    });
    const merged = mergeFiles([parseSecret("token", folder), parseSecret("token:/run/secrets/other:440", folder)]);
    expect(merged).toHaveLength(1);
    expect(merged[0]?.files?.files?.map(({ path, mode }) => [path, mode])).toEqual([
      ["token", 0o400],
      ["other", 0o440],
    ]);
  });
  it.each(["", "nowhere", "token:x", "token:/a/:400", "token:/a:9", "token:/a:400:x", "token:/etc"])(
    "refuses %j",
    (text) => {
      expect(() => parseSecret(text, folder)).toThrow(UsageError);
    },
  );
});

describe("ports", () => {
  it.each([
    ["80", [{ hostAddress: "", hostPort: 0, zonePort: 80 }]],
    ["8080:80", [{ hostAddress: "", hostPort: 8080, zonePort: 80 }]],
    ["0.0.0.0::80/tcp", [{ hostAddress: "0.0.0.0", hostPort: 0, zonePort: 80 }]],
    ["[::1]:8080:80", [{ hostAddress: "::1", hostPort: 8080, zonePort: 80 }]],
    [
      "8000-8001:80-81",
      [
        { hostAddress: "", hostPort: 8000, zonePort: 80 },
        { hostAddress: "", hostPort: 8001, zonePort: 81 },
      ],
    ],
  ])("%s", (text, mappings) => expect(parsePublish(text)).toEqual(mappings));
  it.each(["", "0", "65536", "80/udp", "a:80", "host:1:2", "8000-8002:80-81", "82-80", "1-2-3", "1:2:3:4"])(
    "refuses %j",
    (text) => {
      expect(() => parsePublish(text)).toThrow(UsageError);
    },
  );
  it("takes any text", () => isTotal(parsePublish));

  it.each([
    ["80", { hostAddress: "::1", hostPort: 80, zonePort: 80 }],
    [":80", { hostAddress: "::1", hostPort: 0, zonePort: 80 }],
    ["./s:80", { hostPath: "./s", zonePort: 80 }],
    ["1:/run/s", { hostAddress: "::1", hostPort: 1, zonePath: "/run/s" }],
  ])("forward %s", (text, mapping) => expect(parseForward(text, "::1")).toEqual(mapping));
  it("takes any text to forward", () => isTotal((text) => parseForward(text, "::1")));
});

describe("security", () => {
  it("knows docker's options", () => {
    expect(parseSecurity(["seccomp=unconfined", "no-new-privileges"], true, "/")).toEqual({
      ...{ privileged: true, seccompUnconfined: true, noNewPrivileges: true },
    });
    expect(parseSecurity(["no-new-privileges:true"], false, "/")).toMatchObject({ noNewPrivileges: true });
  });
  it.each(["apparmor=x", "seccomp", "seccomp=/nowhere", "no-new-privileges=maybe"])("refuses %j", (text) => {
    expect(() => parseSecurity([text], false, "/")).toThrow(UsageError);
  });
  it("ulimits", () => {
    expect(parseUlimit("nofile=1024:2048")).toEqual({ type: "nofile", soft: 1024, hard: 2048 });
    expect(parseUlimit("core=0")).toEqual({ type: "core", soft: 0, hard: 0 });
    expect(parseUlimit("memlock=-1:-1")).toEqual({ type: "memlock", unlimited: true });
    for (const text of ["", "nofile", "nofile=x", "nofile=2:1", "nofile=1:-1"]) {
      expect(() => parseUlimit(text)).toThrow(UsageError);
    }
  });
  it("numbers", () => {
    expect([parsePidsLimit("-1"), parsePidsLimit("100"), parseOomScore("-500")]).toEqual([0, 100, -500]);
    expect(() => parsePidsLimit("-2")).toThrow(UsageError);
    expect(() => parseOomScore("1001")).toThrow(UsageError);
  });
});

it("options become a spec", () => {
  const spec = zoneOptions(
    {
      ...NONE,
      ...{
        volume: ["d:/d"],
        tmpfs: ["/t"],
        publish: ["1:2"],
        network: "none",
        dns: ["9.9.9.9"],
        addHost: ["a:1.2.3.4"],
      },
      ...{ capAdd: ["NET_ADMIN"], ulimit: ["core=0"], pidsLimit: "9", init: true, shmSize: "1m", maxCpus: "1.5" },
    },
    "/",
  );
  expect(spec).toMatchObject({
    mounts: [{ target: "/d" }, { target: "/t" }],
    ports: [{ hostPort: 1, zonePort: 2 }],
    network: { mode: api.Network.Mode.MODE_NONE, nameservers: ["9.9.9.9"] },
    ...{ extraHosts: ["a:1.2.3.4"], capAdd: ["NET_ADMIN"], pidsLimit: 9, init: true, shmBytes: 1 << 20, maxCpus: 2 },
  });
  expect(() => zoneOptions({ ...NONE, network: "host" }, "/")).toThrow(UsageError);
  expect(() => zoneOptions({ ...NONE, addHost: ["a"] }, "/")).toThrow(UsageError);
});
