import { write } from "../attach/output.js";
import { isBridgeUp } from "../bridge/start.js";
import type { Context } from "../context.js";
import { VERSION } from "../version.js";

/** `zonectl version`: ours, and the bridge's if it runs; it is not started, and gRPC not loaded, for that. */
export async function version(context: Context, options: { format: "table" | "json" }): Promise<number> {
  const bridge = (await isBridgeUp(context.bridge.path))
    ? await (await import("./host.js")).bridgeVersion(context.bridge.path)
    : undefined;
  if (options.format === "json") {
    const { bridgeVersion = null, zoneImageVersion = null, hypervisorVersion = null, pid = null } = bridge ?? {};
    const shown = bridge && { version: bridgeVersion, zoneImage: zoneImageVersion, hypervisor: hypervisorVersion, pid };
    await write(context.stdout, `${JSON.stringify({ zonectl: VERSION, bridge: shown ?? null }, null, 2)}\n`);
    return 0;
  }
  const lines = [`zonectl     ${VERSION}`];
  if (bridge) {
    lines.push(
      `bridge      ${bridge.bridgeVersion} (pid ${bridge.pid}, protocol ${bridge.protocolMin} to ${bridge.protocolMax})`,
    );
    lines.push(`zone image  ${bridge.zoneImageVersion || "none"}`, `hypervisor  ${bridge.hypervisorVersion || "none"}`);
  } else lines.push("bridge      not running");
  await write(context.stdout, `${lines.join("\n")}\n`);
  return 0;
}
