import { closeSync, openSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addon, POLL_READABLE } from "./addon.js";
import { memfd, pipe } from "./descriptors.js";
import {
  decodeMessage,
  encodeMessage,
  type InitMessage,
  MESSAGE_BYTES,
  SPAWN_KEPT_SHIFT,
  STAGES,
  TYPE,
} from "./init-messages.js";
import { encodeSpec } from "./spawn-spec.js";
import { Foreground, isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { specOf } from "./testing/init-under-test.js";

/** The next packet of PID 1. */
function receive(control: number): Promise<InitMessage> {
  return new Promise((resolve, reject) => {
    const poll = addon().pollStart(control, POLL_READABLE, () => {
      const bytes = Buffer.alloc(MESSAGE_BYTES);
      const packet = addon().receivePacket(control, bytes);
      if (!packet) return;
      addon().pollStop(poll);
      if (packet.length === 0) reject(new Error("PID 1 has closed the connection"));
      else resolve(decodeMessage(bytes.subarray(0, packet.length)));
    });
  });
}

describe.skipIf(!isRoot)("the protocol, byte by byte (needs root)", { timeout: TIMEOUT_MS }, () => {
  let init: Foreground;
  let control: number;
  let token = 100n;
  beforeAll(async () => {
    init = await Foreground.start();
    ({ control } = await init.agent());
  }, TIMEOUT_MS);
  afterAll(async () => {
    closeSync(control);
    await init.stop();
  }, TIMEOUT_MS);

  const null3 = () => [0, 1, 2].map(() => openSync("/dev/null", "r+"));
  /** Sends ZI_SPAWN with these descriptors, which it closes, and gives the answer. */
  const spawnWith = async (fds: number[], flags = 0) => {
    addon().sendPacket(control, encodeMessage({ type: TYPE.spawn, token: ++token, flags }), fds);
    for (const fd of fds) closeSync(fd);
    const answer = await receive(control);
    expect(answer.token).toBe(token);
    return answer;
  };

  it("greets first", async () => {
    expect(await receive(control)).toMatchObject({ type: TYPE.hello, arg: 2, flags: 0 });
  });

  it("refuses malformed specs and starts nothing", async () => {
    const good = encodeSpec(specOf(["true"]));
    const broken = (change: (bytes: Buffer) => void) => {
      const bytes = Buffer.from(good);
      change(bytes);
      return bytes;
    };
    const cases = {
      magic: broken((b) => b.writeUInt32LE(1, 0)),
      size: broken((b) => b.writeUInt32LE(b.length - 1, 4)),
      flags: broken((b) => b.writeUInt32LE(1 << 20, 8)),
      "both container flags": broken((b) => b.writeUInt32LE(3, 8)),
      "a container without a mount namespace": broken((b) => b.writeUInt32LE(1, 8)),
      "unknown namespace": broken((b) => b.writeUInt32LE(1 << 7, 128)),
      "a namespace twice": broken((b) => {
        b.writeUInt32LE(1, 128);
        b.writeUInt32LE(1, 168);
      }),
      "join and namespaces": broken((b) => {
        b.writeUInt32LE(2, 8);
        b.writeUInt32LE(1, 128);
      }),
      "masked paths without their flag": broken((b) => b.writeUInt32LE(1, 132)),
      "read-only paths beyond the limit": broken((b) => b.writeUInt32LE(1025, 136)),
      "filter beyond the limit": broken((b) => b.writeUInt32LE(4097, 140)),
      "filter beyond the end": broken((b) => b.writeUInt32LE(4000, 140)),
      "unaligned filter": broken((b) => {
        b.writeUInt32LE(1, 140);
        b.writeUInt32LE(193, 156);
      }),
      "filter flags without a filter": broken((b) => b.writeUInt32LE(2, 144)),
      "unknown filter flags": broken((b) => {
        b.writeUInt32LE(1, 140);
        b.writeUInt32LE(1, 144);
      }),
      "privileged without a container": broken((b) => b.writeUInt32LE(1 << 7, 8)),
      uid: broken((b) => b.writeUInt32LE(0xffff_ffff, 12)),
      "no argv": broken((b) => b.writeUInt32LE(0, 36)),
      "argc beyond the end": broken((b) => b.writeUInt32LE(0xffff_ffff, 36)),
      "groups beyond the end": broken((b) => b.writeUInt32LE(1000, 28)),
      "unaligned groups": broken((b) => b.writeUInt32LE(129, 96)),
      "string beyond the end": broken((b) => b.writeUInt32LE(b.length, 116)),
      "relative cwd": broken((b) => b.writeUInt32LE(b.length - 1, 116)),
      "no NUL at the end": broken((b) => b.writeUInt8(65, b.length - 1)),
      short: good.subarray(0, 100),
      empty: Buffer.alloc(0),
    };
    for (const [name, bytes] of Object.entries(cases)) {
      const answer = await spawnWith([memfd("spec", bytes), ...null3()]);
      expect({ ...answer, stage: STAGES[answer.flags - 1] }, name).toMatchObject({
        type: TYPE.spawnFailed,
        stage: "spec",
        arg: 22,
      });
    }
  });

  it("refuses a spec that is no sealed memfd", async () => {
    const answer = await spawnWith([openSync("/etc/passwd", "r"), ...null3()]);
    expect(answer).toMatchObject({ type: TYPE.spawnFailed, arg: 22 });
  });

  it("survives any header: an answer always comes, and no child of it crashes", async () => {
    const good = encodeSpec(
      specOf(["true", "x"], {
        groups: [1, 2],
        rlimits: [{ resource: 4, soft: 0n, hard: 0n }],
        seccomp: Buffer.from("0600000000" + "00ff7f", "hex"), // return SECCOMP_RET_ALLOW
        meta: "m",
      }),
    );
    const word = fc.record({
      at: fc.integer({ min: 2, max: 47 }),
      value: fc.oneof(
        fc.nat(good.length + 8),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.constantFrom(0, 1, 0xffff_ffff, 0x8000_0000),
      ),
    });
    const property = fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 4 }), async (words) => {
      const bytes = Buffer.from(good);
      for (const { at, value } of words) bytes.writeUInt32LE(value, at * 4);
      const answer = await spawnWith([memfd("spec", bytes), ...null3()]);
      if (answer.type === TYPE.spawnFailed) return;
      expect(answer.type).toBe(TYPE.spawned);
      const exit = await receive(control);
      expect(exit).toMatchObject({ type: TYPE.exited, token, status: 0 });
      addon().sendPacket(control, encodeMessage({ type: TYPE.release, token }), []);
    });
    await fc.assert(property, { numRuns: 300 });
    expect(init.stderr).not.toMatch(/Sanitizer|runtime error/);
  });

  it("refuses a spawn with too few or too many descriptors", async () => {
    const spec = () => memfd("spec", encodeSpec(specOf(["true"])));
    const refused = { type: TYPE.error, flags: TYPE.spawn, arg: 22 };
    expect(await spawnWith([spec()])).toMatchObject(refused);
    expect(await spawnWith([spec(), ...null3(), ...null3()])).toMatchObject(refused);
    expect(await spawnWith([spec(), ...null3()], 1 << SPAWN_KEPT_SHIFT)).toMatchObject(refused);
    expect(await spawnWith([spec(), ...null3(), ...null3(), ...null3()], 6 << SPAWN_KEPT_SHIFT)).toMatchObject({
      type: TYPE.error,
      arg: 24,
    });
  });

  it("answers packets of the wrong size and of unknown types, and goes on", async () => {
    addon().sendPacket(control, Buffer.alloc(7), []);
    expect(await receive(control)).toMatchObject({ type: TYPE.error, flags: 0, arg: 74 });
    addon().sendPacket(control, Buffer.alloc(MESSAGE_BYTES + 1), []);
    expect(await receive(control)).toMatchObject({ type: TYPE.error, flags: 0, arg: 74 });
    addon().sendPacket(control, encodeMessage({ type: 999, token: 5n }), []);
    expect(await receive(control)).toMatchObject({ type: TYPE.error, flags: 999, token: 5n, arg: 38 });
  });

  it("closes descriptors that come with a request that takes none", async () => {
    const before = init.openDescriptors();
    const { read, write } = pipe();
    addon().sendPacket(control, encodeMessage({ type: TYPE.release, token: 7n }), [read, write]);
    closeSync(read);
    closeSync(write);
    expect(await receive(control)).toMatchObject({ type: TYPE.error, flags: TYPE.release, token: 7n, arg: 3 });
    expect(init.openDescriptors()).toBe(before);
  });

  it("stops reading, and loses nothing, while the agent does not read", async () => {
    const request = encodeMessage({ type: TYPE.kill, token: 9n, arg: 15 });
    let sent = 0;
    while (sent < 100_000 && addon().sendPacket(control, request, [])) sent++;
    expect(sent).toBeLessThan(100_000);
    for (let i = 0; i < sent; i++)
      expect(await receive(control)).toMatchObject({ type: TYPE.error, token: 9n, arg: 3 });
  });
});
