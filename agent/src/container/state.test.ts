import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MNT_DETACH, mount, unmount } from "@zone/native";
import { expect, it } from "vitest";
import { markStopped, writeState } from "./state.js";

it("a container whose folder is full can be marked as stopped", () => {
  const base = mkdtempSync(join(tmpdir(), "zone-state-"));
  mount("tmpfs", base, "tmpfs", 0, "size=64k,nr_inodes=4");
  try {
    writeState(base, { live: "", "state.json": "{}" });
    expect(() => {
      for (let i = 0; ; i++) writeFileSync(join(base, `filler-${i}`), Buffer.alloc(32 * 1024));
    }).toThrow("ENOSPC");
    markStopped(base);
    expect(existsSync(join(base, "stopped"))).toBe(true);
  } finally {
    unmount(base, MNT_DETACH);
    rmSync(base, { recursive: true });
  }
});
