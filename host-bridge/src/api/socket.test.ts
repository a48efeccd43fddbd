import { stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ScriptedBridge } from "../testing/scripted-bridge.js";

it.each([
  ["a group", { uids: [], gids: [] }, 0o660],
  ["users of any group", { uids: [1234], gids: [] }, 0o666],
])("the socket's mode lets members by %s in", async (_, members, mode) => {
  const host = await ScriptedBridge.start({ members });
  expect((await stat(join(host.directory, "bridge.sock"))).mode & 0o777).toBe(mode);
  await host.close();
});
