import { readdirSync } from "node:fs";
import { afterEach, expect, it, vi } from "vitest";
import { Identities } from "./identities.js";
import { openUserNetwork } from "./network.js";

const { pairs } = vi.hoisted(() => ({ pairs: { left: Number.POSITIVE_INFINITY } }));
vi.mock("@zone/native", async (original) => {
  const native = await original<typeof import("@zone/native")>();
  const socketPair = () => {
    if (pairs.left-- > 0) return native.socketPair();
    throw Object.assign(new Error("socketpair: EMFILE"), { code: "EMFILE" });
  };
  return { ...native, socketPair };
});
vi.mock("./host-tools.js", () => ({ hostTool: () => "/nowhere/zone-frame-filter" }));
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const route = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0";
  const readFile = async (path: string, ...rest: never[]) =>
    path === "/proc/net/route" ? route : real.readFile(path, ...rest);
  return { ...real, readFile };
});

afterEach(() => {
  pairs.left = Number.POSITIVE_INFINITY;
});

it.each([0, 1, 2])("keeps no descriptor and no user when it fails after %d socket pairs", async (left) => {
  const identities = new Identities(0x60000000);
  const released: number[] = [];
  vi.spyOn(identities, "release").mockImplementation((uid) => released.push(uid));
  pairs.left = left;
  const before = readdirSync("/proc/self/fd").length;
  await expect(openUserNetwork({ passt: "/nowhere/passt", identities }, "/nowhere")).rejects.toThrow();
  expect(readdirSync("/proc/self/fd").length).toBe(before);
  expect(released).toHaveLength(1);
});
