import { bridge } from "@zone/proto";
import { describe, expect, it } from "vitest";
import type { ImageConfig } from "../images/image-store.js";
import { domainConfig, mainContainer, mainProcess } from "./main-spec.js";
import type { ZoneSpec } from "./spec.js";

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

describe("mainProcess", () => {
  const spec: ZoneSpec = { name: "web", image: "busybox" };

  it("takes the image's config", () => {
    expect(mainProcess(spec, image)).toEqual({
      id: "main",
      containerId: "main",
      init: true,
      argv: [text("sh")],
      env: [text("HOSTNAME=web"), text("PATH=/bin")],
      cwd: "/srv",
      user: "app",
      stdin: false,
    });
  });

  it("lets the request override it", () => {
    const asked = {
      ...spec,
      hostname: "h",
      user: "0",
      cwd: "/",
      stdin: true,
      tty: true,
      ttyRows: 50,
      ttyColumns: 70_000,
    };
    expect(mainProcess(asked, image)).toMatchObject({
      user: "0",
      cwd: "/",
      stdin: true,
      tty: { rows: 50, columns: 65_535 },
    });
    expect(mainProcess({ ...spec, tty: true }, image).tty).toEqual({ rows: 24, columns: 80 });
  });

  it("needs a command", () => {
    const reason = expect.objectContaining({ reason: "NO_COMMAND" });
    expect(() => mainProcess(spec, { ...image, cmd: [] })).toThrow(reason);
    expect(() => mainProcess({ ...spec, entrypoint: {} }, image)).toThrow(reason);
  });
});

describe("the domain and container of a request", () => {
  it.each([
    [500, 1, 500],
    [1000, 1, undefined],
    [1500, 2, 1500],
    [3000, 3, undefined],
  ])("%i thousandths of a cpu are %i vCPUs limited to %s", (cpuMillis, vcpus, limit) => {
    expect(domainConfig("id", { cpuMillis }, { rootPath: "/disk" }).vcpus).toBe(vcpus);
    expect(mainContainer({ cpuMillis }).limits?.cpuMillis).toBe(limit);
  });

  it("attach the image's disk as the container's root", () => {
    expect(
      domainConfig("id", { memoryBytes: 5, bootMode: bridge.BootMode.BOOT_MODE_COLD }, { rootPath: "/disk" }),
    ).toEqual({
      id: "id",
      memoryBytes: 5,
      vcpus: 1,
      disks: [{ path: "/disk", serial: "w0", readOnly: true }],
      shares: [],
      network: { kind: "user" },
      maxMemoryBytes: 5,
      maxVcpus: 1,
      cold: true,
    });
    expect(mainContainer({ name: "my_web-.", hostname: "" }).hostname).toBe("my-web");
    expect(mainContainer({ name: "web", readOnly: true })).toEqual({
      id: "main",
      rootfs: { blockSerial: "w0", fsType: "erofs", readOnly: true },
      hostname: "web",
    });
  });
});
