import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { ZoneError, type zone } from "@zone/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lastOf, TestBridge } from "../testing/test-bridge.js";

let host: TestBridge;
/** What zones, which have this host's network here, are to reach. */
let service: Server;
beforeEach(async () => {
  host = await TestBridge.start();
  service = createServer((socket) => socket.end("served"));
  service.listen(0, "127.0.0.1");
  await once(service, "listening");
});
afterEach(async () => {
  service.close();
  await host.close();
});

const servicePort = () => (service.address() as AddressInfo).port;
const portsOf = async (id: string) => (await host.zones.get({ zone: id })).zone?.ports ?? [];

async function readFrom(at: { port: number; host: string } | { path: string }): Promise<string> {
  const socket = connect(at);
  let text = "";
  socket.setEncoding("utf8");
  for await (const piece of socket) text += piece;
  return text;
}

const at = (port: zone.bridge.v1.PortMapping.$Properties | undefined) => ({
  port: port?.hostPort ?? 0,
  host: port?.hostAddress ?? "",
});

describe("published ports", () => {
  it("lead into the zone, from its start to its end", async () => {
    const path = join(host.directory, "published");
    const ports = [{ zonePort: servicePort() }, { hostPath: path, zonePort: servicePort() }];
    const id = await host.run("sleep 1000", { ports });
    const [first] = await portsOf(id);
    expect(first).toMatchObject({ hostAddress: "127.0.0.1", zonePort: servicePort() });
    expect(await readFrom(at(first))).toBe("served");
    expect(await readFrom({ path })).toBe("served");
    await host.zones.delete({ zone: id, force: true });
    await expect(readFrom(at(first))).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(readFrom({ path })).rejects.toMatchObject({ code: "ENOENT" });
  });

  it.each(["SIGKILL", "SIGTERM"] as const)("are the same after a bridge's %s", async (signal) => {
    const id = await host.run("sleep 1000", { ports: [{ zonePort: servicePort() }] });
    const before = await portsOf(id);
    await host.end(signal);
    await host.launch();
    expect(await portsOf(id)).toEqual(before);
    expect(await readFrom(at(before[0]))).toBe("served");
  });

  it("in use leave the zone as it was, and take nothing", async () => {
    const taken = servicePort();
    const id = await host.create("sleep 1000", { ports: [{ zonePort: 1 }, { hostPort: taken, zonePort: 2 }] });
    const error = await lastOf(host.zones.start({ zone: id })).catch(ZoneError.from);
    expect(error).toMatchObject({ reason: "PORT_IN_USE", message: expect.stringContaining(String(taken)) });
    service.close();
    await once(service, "close");
    await lastOf(host.zones.start({ zone: id }));
    expect((await portsOf(id))[1]).toMatchObject({ hostPort: taken });
  });

  it("in use end an auto_remove zone that was not started", async () => {
    const id = await host.create("true", { autoRemove: true, ports: [{ hostPort: servicePort(), zonePort: 2 }] });
    await expect(lastOf(host.zones.start({ zone: id }))).rejects.toThrow(/in use/);
    await expect(host.zones.get({ zone: id })).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
  });
});
