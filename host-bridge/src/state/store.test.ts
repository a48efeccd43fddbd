import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zone } from "@zone/proto";
import { ClassicLevel } from "classic-level";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StateStore } from "./store.js";
import { decodeRecord, encodeRecord, type ZoneRecord } from "./zone-record.js";

const record: ZoneRecord = {
  id: "a".repeat(32),
  name: "web",
  ownerUid: 1000,
  spec: zone.bridge.v1.ZoneSpec.create({ name: "web", image: "busybox", env: [Buffer.from([0x41, 0x3d, 0xff])] }),
  main: zone.agent.v1.ProcessSpec.create({ id: "main", argv: [Buffer.from([0xff, 0x0a])] }),
  stopSignal: 15,
  imageDigest: "sha256:00",
  createdAt: 1,
  life: { state: "created" },
};

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zone-store-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("StateStore", () => {
  it("keeps records over a restart, bytes and all", async () => {
    const first = await StateStore.open(directory);
    await first.put(record);
    await first.put({ ...record, id: "b".repeat(32), name: "db" });
    await first.put({ ...record, life: { state: "starting" } });
    await first.remove("b".repeat(32));
    await first.close();

    const second = await StateStore.open(directory);
    const [found, ...rest] = await second.zones();
    await second.close();
    expect(rest).toEqual([]);
    expect(found?.life).toEqual({ state: "starting" });
    expect(Buffer.from(found?.spec.env?.[0] ?? [])).toEqual(Buffer.from([0x41, 0x3d, 0xff]));
    expect(Buffer.from(found?.main.argv?.[0] ?? [])).toEqual(Buffer.from([0xff, 0x0a]));
  });

  it("lets only one bridge in", async () => {
    const first = await StateStore.open(directory);
    await expect(StateStore.open(directory)).rejects.toMatchObject({ reason: "BRIDGE_RUNNING" });
    await first.close();
    await (await StateStore.open(directory)).close();
  });

  it("refuses what another version wrote", async () => {
    const db = new ClassicLevel<string, string>(directory);
    await db.put("schema", "99");
    await db.close();
    await expect(StateStore.open(directory)).rejects.toMatchObject({ reason: "STATE_TOO_NEW" });
  });

  it("says when a record is damaged", async () => {
    await (await StateStore.open(directory)).close();
    const db = new ClassicLevel<string, string>(directory);
    await db.put("zone/x", "{");
    await db.close();
    const store = await StateStore.open(directory);
    await expect(store.zones()).rejects.toMatchObject({ reason: "STATE_DAMAGED" });
    await store.close();
  });
});

describe("decodeRecord", () => {
  it("is the inverse of encodeRecord", () =>
    expect(encodeRecord(decodeRecord("k", encodeRecord(record)))).toBe(encodeRecord(record)));
  it.each(["", "null", "[]", "{}", '{"spec":"AA","main":""}'])("refuses %j", (text) =>
    expect(() => decodeRecord("k", text)).toThrow(expect.objectContaining({ reason: "STATE_DAMAGED" })),
  );
});
