import { bridge } from "@zone/proto";
import { describe, expect, it } from "vitest";
import type { ImageConfig } from "../images/image-store.js";
import { checkSpec, stopSignalOf, type ZoneSpec } from "./spec.js";

const MIB = 1024 * 1024;
const host = { memoryBytes: 4096 * MIB, cpus: 4 };
const image: ImageConfig = {
  entrypoint: [],
  cmd: ["sh"],
  env: ["PATH=/bin"],
  user: "app",
  workingDir: "/srv",
  stopSignal: "SIGQUIT",
  architecture: "amd64",
};
const text = (value: string) => Buffer.from(value);

describe("checkSpec", () => {
  const refused: [string, ZoneSpec, string, string][] = [
    ["a name with a space", { name: "a b" }, "INVALID_NAME", "a b"],
    ["a name that is an option", { name: "-x" }, "INVALID_NAME", "-x"],
    ["a long name", { name: "n".repeat(64) }, "INVALID_NAME", "63"],
    ["a hostname with a slash", { hostname: "a/b" }, "INVALID_NAME", "a/b"],
    ["a hostname with an underscore", { hostname: "a_b" }, "INVALID_NAME", "a_b"],
    ["a hostname that ends in a dot", { hostname: "a." }, "INVALID_NAME", "a."],
    ["no image", { image: "" }, "INVALID_IMAGE", "busybox"],
    ["an image that is an option", { image: "--help" }, "INVALID_IMAGE", "--help"],
    ["an image with a newline", { image: "a\nb" }, "INVALID_IMAGE", "a\\nb"],
    ["an image of 2,000 letters", { image: "a".repeat(2000) }, "INVALID_IMAGE", "..."],
    ["a variable without a name", { env: [text("=1")] }, "INVALID_ENV", "=1"],
    ["a variable without =", { env: [text("PATH")] }, "INVALID_ENV", "PATH"],
    ["a variable with NUL", { env: [text("A=\0")] }, "INVALID_ENV", "NUL"],
    ["a variable of 128 KiB", { env: [text(`A=${"x".repeat(128 * 1024)}`)] }, "INVALID_ENV", "128 KiB"],
    ["too little memory", { memoryBytes: 95 * MIB }, "MEMORY_TOO_SMALL", "at least 96 MiB"],
    ["more memory than there is", { memoryBytes: 8192 * MIB }, "INVALID_MEMORY", "4096"],
    ["more cpus than there are", { cpuMillis: 4001 }, "INVALID_CPUS", "4.001"],
    ["hardly any cpu", { cpuMillis: 9 }, "INVALID_CPUS", "0.009"],
    ["an unknown signal", { stopSignal: "SIGNOPE" }, "INVALID_SIGNAL", "SIGNOPE"],
  ];
  it.each(refused)("refuses %s", (_, spec, reason, named) => {
    const message = expect.stringContaining(named);
    expect(() => checkSpec({ image: "busybox", ...spec }, host)).toThrow(expect.objectContaining({ reason, message }));
  });

  it("fills in the defaults", () => {
    expect(checkSpec({ image: "busybox" }, host)).toEqual({
      image: "busybox",
      memoryBytes: 256 * MIB,
      cpuMillis: 1000,
      bootMode: bridge.BootMode.BOOT_MODE_TEMPLATE,
      mounts: [],
      ports: [],
      network: { mode: bridge.Network.Mode.MODE_USER, nameservers: [], searches: [], options: [] },
      maxMemoryBytes: 1024 * MIB,
      maxCpus: 4,
    });
  });

  it("rounds memory up to whole MiB, and takes the least and the most", () => {
    expect(checkSpec({ image: "busybox", memoryBytes: 96 * MIB + 1 }, host).memoryBytes).toBe(97 * MIB);
    expect(checkSpec({ image: "busybox", memoryBytes: 96 * MIB, cpuMillis: 10 }, host)).toMatchObject({
      cpuMillis: 10,
    });
    expect(checkSpec({ image: "busybox", memoryBytes: 4096 * MIB, cpuMillis: 4000 }, host)).toMatchObject({
      cpuMillis: 4000,
    });
  });
});

describe("stopSignalOf", () => {
  it("is the request's, the image's, or SIGTERM", () => {
    expect(stopSignalOf({ stopSignal: "9" }, image)).toBe(9);
    expect(stopSignalOf({}, image)).toBe(3);
    expect(stopSignalOf({}, { stopSignal: "" })).toBe(15);
    expect(stopSignalOf({}, { stopSignal: "nonsense" })).toBe(15);
  });
});
