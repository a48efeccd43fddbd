import { bridge } from "@zone/proto";
import { describe, expect, it } from "vitest";
import { connectionChecks, networkCheck } from "./connection-checks.js";

const { RESULT_OK, RESULT_WARNING } = bridge.Check.Result;

describe("connectionChecks", () => {
  it("says what is missing and how to get it", async () => {
    const checks = await connectionChecks({ passt: "no-such-passt", virtiofsd: "/no/virtiofsd" });
    expect(checks.map(({ name, result }) => [name, result])).toEqual([
      ["network", RESULT_WARNING],
      ["virtiofsd", RESULT_WARNING],
    ]);
    expect(checks.map(({ advice }) => advice)).toEqual(["apt-get install passt", "apt-get install qemu-system-common"]);
  });

  it("says what a host that is connected to nothing means", () => {
    expect(networkCheck("/usr/bin/passt", { four: false, six: false })).toMatchObject({ result: RESULT_WARNING });
    expect(networkCheck("/usr/bin/passt", { four: true, six: false })).toMatchObject({
      result: RESULT_OK,
      message: "/usr/bin/passt, IPv4",
    });
  });
});
