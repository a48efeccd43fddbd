import { symlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { RunningAgent } from "../testing/running-agent.js";
import { collect, copyIn, readAll, writeAll } from "./testing/client.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { at, put, text } = zone;

describe("every call refuses", () => {
  const calls: [string, (path: string) => Promise<unknown>][] = [
    ["Stat", (path) => zone.agent.files.stat({ path })],
    ["ReadDirectory", (path) => zone.agent.files.readDirectory({ path })],
    ["Read", (path) => readAll(zone.agent.files, { path })],
    ["Write", (path) => writeAll(zone.agent.files, { path }, "x")],
    ["MakeDirectory", (path) => zone.agent.files.makeDirectory({ path })],
    ["MakeLink", (path) => zone.agent.files.makeLink({ path, target: "t" })],
    ["MakeLink to it", (path) => zone.agent.files.makeLink({ path: "/l", target: path, hard: true })],
    ["Remove", (path) => zone.agent.files.remove({ path })],
    ["Move from it", (path) => zone.agent.files.move({ from: path, to: "/x" })],
    ["Move to it", (path) => zone.agent.files.move({ from: "/x", to: path })],
    ["SetAttributes", (path) => zone.agent.files.setAttributes({ path, mode: 0o600 })],
    ["Watch", (path) => collect(zone.agent.files.watch({ path }))],
    ["CopyOut", (path) => collect(zone.agent.files.copyOut({ path }))],
  ];
  it.each(calls)("%s: bad paths, and files below files", async (_, call) => {
    put("x", "");
    for (const path of ["", "relative", "/a\0b", `/${"x".repeat(256)}`, `/${"y/".repeat(2100)}`]) {
      await expect(call(path)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_PATH" });
    }
    put("file", "f");
    const below = call("/file/below");
    await expect(below).rejects.toMatchObject({
      ...{ code: "FAILED_PRECONDITION", reason: "NOT_A_DIRECTORY", domain: "zone.agent" },
      metadata: { errno: "ENOTDIR" },
    });
    symlinkSync("loop", at("loop"));
    await expect(call("/loop/x")).rejects.toMatchObject({ reason: "TOO_MANY_LINKS" });
    expect(text("file")).toBe("f");
  });

  it.each<[string, Promise<unknown> | (() => Promise<unknown>)]>([
    ["stat", () => zone.agent.files.stat({ containerId: "none", path: "/" })],
    ["read", () => readAll(zone.agent.files, { containerId: "none", path: "/" })],
    ["write", () => writeAll(zone.agent.files, { containerId: "none", path: "/f" }, "x")],
    ["watch", () => collect(zone.agent.files.watch({ containerId: "none", path: "/" }))],
    ["copyOut", () => collect(zone.agent.files.copyOut({ containerId: "none", path: "/" }))],
  ])("%s: containers that are not there", async (_, call) => {
    const asked = typeof call === "function" ? call() : call;
    await expect(asked).rejects.toMatchObject({ code: "NOT_FOUND", reason: "CONTAINER_UNKNOWN" });
  });
});

describe("a template's agent", () => {
  it("serves nothing before Renew", async () => {
    const template = await RunningAgent.start("zone.template=1");
    try {
      const refused = { code: "FAILED_PRECONDITION", reason: "ZONE_NOT_RENEWED" };
      for (const call of [
        template.files.stat({ path: "/" }),
        template.files.readDirectory({ path: "/" }),
        readAll(template.files, { path: "/etc/passwd" }),
        writeAll(template.files, { path: "/x" }, ""),
        template.files.makeDirectory({ path: "/x" }),
        template.files.makeLink({ path: "/x", target: "/" }),
        template.files.remove({ path: "/x" }),
        template.files.move({ from: "/x", to: "/y" }),
        template.files.setAttributes({ path: "/x" }),
        collect(template.files.watch({ path: "/" })),
        collect(template.files.copyOut({ path: "/" })),
        copyIn(template.files, { path: "/" }, new Uint8Array()),
      ]) {
        await expect(call).rejects.toMatchObject(refused);
      }
    } finally {
      await template.stop();
    }
  });
});
