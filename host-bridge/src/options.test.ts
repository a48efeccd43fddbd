import { describe, expect, it } from "vitest";
import { parseOptions } from "./options.js";

describe("parseOptions", () => {
  it("has defaults", () => {
    expect(parseOptions([], {})).toEqual({
      stateDir: "/var/lib/zone-bridge",
      runDir: "/run/zone-bridge",
      imageDir: expect.stringMatching(/\/\.cache\/image\/current$/),
      accelerator: "auto",
      logLevel: "info",
      allowUids: [],
      allowGids: [],
    });
  });

  it("takes arguments before the environment", () => {
    const env = {
      ZONE_STATE_DIR: "/env/s",
      ZONE_RUN_DIR: "/env/r",
      ZONE_ALLOW_UIDS: "1000, 1001",
      ZONE_ACCELERATOR: "tcg",
    };
    expect(parseOptions(["--state-dir", "/arg/s", "--allow-gid", "5", "--allow-gid", "6"], env)).toMatchObject({
      stateDir: "/arg/s",
      runDir: "/env/r",
      accelerator: "tcg",
      allowUids: [1000, 1001],
      allowGids: [5, 6],
    });
  });

  it("answers to --help and --version", () => {
    expect(parseOptions(["--help"], {})).toBe("help");
    expect(parseOptions(["--version"], {})).toBe("version");
  });

  it.each([
    [["--nope"], "--nope"],
    [["extra"], "extra"],
    [["--accelerator", "hax"], "auto, kvm, tcg"],
    [["--log-level", "loud"], "trace"],
    [["--allow-uid", "root"], "root"],
    [["--allow-uid", "-1"], ""],
    [["--allow-gid", "4294967295"], "4294967295"],
    [["--run-dir", `/${"r".repeat(100)}`], "too long"],
  ])("refuses %j", (args, named) => {
    const message = expect.stringContaining(named);
    expect(() => parseOptions(args, {})).toThrow(expect.objectContaining({ reason: "INVALID_OPTION", message }));
  });
});
