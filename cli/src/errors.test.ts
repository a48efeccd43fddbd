import { ZoneError } from "@zone/proto";
import { describe, expect, it } from "vitest";
import { CommandFailure, QuietExit, report } from "./errors.js";
import { UsageError } from "./parse/usage-error.js";

const zoneError = (code: ZoneError["code"], reason: string, message: string, domain = "zone.bridge") =>
  new ZoneError({ code, reason, message, domain });

describe("report", () => {
  it.each<[string, unknown, number, string | undefined]>([
    ["usage", new UsageError("bad"), 125, "zonectl: bad"],
    ["a failure with a code", new CommandFailure("ended", 137), 137, "zonectl: ended"],
    ["nothing more to say", new QuietExit(130), 130, undefined],
    [
      "a reader that is gone",
      Object.assign(new Error("write EPIPE"), { code: "EPIPE", syscall: "write" }),
      141,
      undefined,
    ],
    ["anything else", new Error("boom"), 125, "zonectl: boom"],
    ["what is no error", "text", 125, "zonectl: text"],
    [
      "not found",
      zoneError("NOT_FOUND", "EXEC_NOT_FOUND", "cannot run x: not found"),
      127,
      "zonectl: cannot run x: not found",
    ],
    [
      "not executable",
      zoneError("PERMISSION_DENIED", "EXEC_NOT_EXECUTABLE", "cannot run x"),
      126,
      "zonectl: cannot run x",
    ],
    [
      "an unknown zone",
      zoneError("NOT_FOUND", "ZONE_UNKNOWN", "no zone 'x'"),
      125,
      "zonectl: no zone 'x'; `zonectl ls -a` lists the zones",
    ],
    [
      "the bridge's own advice",
      zoneError("NOT_FOUND", "ZONE_UNKNOWN", "no zone 'x'; do this"),
      125,
      "zonectl: no zone 'x'; do this",
    ],
    ["an unknown reason", zoneError("INTERNAL", "NEW_ONE", "odd"), 125, "zonectl: odd"],
    ["hostile text", zoneError("INTERNAL", "NEW_ONE", "a\nb\x1b[2J"), 125, "zonectl: a\\nb\\x1b[2J"],
    [
      "no bridge",
      zoneError("UNAVAILABLE", "UNAVAILABLE", "No connection", "grpc"),
      125,
      "zonectl: cannot reach the bridge at /b: No connection; is zone-bridge running?",
    ],
    [
      "no answer",
      zoneError("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "x", "grpc"),
      125,
      "zonectl: no answer from the bridge at /b: the time is over; try again, or see its log",
    ],
    [
      "an older bridge",
      zoneError("UNIMPLEMENTED", "UNIMPLEMENTED", "x", "grpc"),
      125,
      "zonectl: the bridge at /b does not know this call: it is older than this zonectl; restart it",
    ],
  ])("%s", (_, thrown, exitCode, line) => {
    const shown = report(thrown, "/b");
    expect({ exitCode: shown.exitCode, line: shown.line }).toEqual({ exitCode, line });
  });

  it("has details for --debug", () => {
    const error = new ZoneError({
      code: "INTERNAL",
      reason: "MOUNT_FAILED",
      message: "x",
      domain: "zone.agent",
      resource: { type: "mount", name: "/a" },
      metadata: { errno: "EIO" },
    });
    expect(report(error, "/b").details).toEqual([
      "code: INTERNAL",
      "reason: zone.agent/MOUNT_FAILED",
      "resource: mount /a",
      "errno: EIO",
    ]);
  });
});
