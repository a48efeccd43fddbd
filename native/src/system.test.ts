import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModule } from "./system.js";
import { caught } from "./testing/caught.js";

describe("the system", { timeout: 60_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "zone-system-"));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("loads no module that is none", () => {
    const path = join(dir, "none.ko");
    expect(caught(() => loadModule(path))).toMatchObject({ code: "ENOENT", syscall: "open", path });
    writeFileSync(path, "not a module");
    expect(caught(() => loadModule(path))).toMatchObject({
      code: expect.stringMatching(/^(ENOEXEC|EPERM|ENOSYS)$/),
      syscall: "finit_module",
      path,
    });
  });
});
