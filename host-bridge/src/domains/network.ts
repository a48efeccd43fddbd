import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { closeFd, socketPair } from "@zone/native";
import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { type Companion, endCompanions, startCompanion } from "./companions.js";
import type { NetworkFacts } from "./driver.js";
import { hostTool } from "./host-tools.js";
import type { Identities } from "./identities.js";
import { HARDWARE_ADDRESS } from "./qemu-args.js";

/** The zone's side, the same in every zone; native/c/host/frame-filter.c knows it too. */
const ADDRESS_4 = "10.0.2.15";
const GATEWAY_4 = "10.0.2.2";
const DNS_4 = "10.0.2.3";
const PREFIX_4 = 24;
const ADDRESS_6 = "fd00:7a6f:6e65::15";
const GATEWAY_6 = "fd00:7a6f:6e65::2";
const PREFIX_6 = 64;
/** passt's default: the largest that Ethernet's 802.3 length allows, in 32-bit words. Frames never reach a real network. */
const MTU = 65520;

const FRAME_FILTER = "zone-frame-filter";
const PASST_LOG_BYTES = 64 * 1024;

/** Which families a host can send to the world with. */
export interface Routes {
  four: boolean;
  six: boolean;
}

/** A domain's network: what its VMM is to be given, and what carries it. */
export interface UserNetwork {
  /** The VMM's end; the caller closes it when the VMM has it. */
  fd: number;
  companions: Companion[];
  facts: NetworkFacts;
}

export interface NetworkHost {
  /** passt's program. */
  passt: string;
  /** Undefined when the bridge is not root. */
  identities: Identities | undefined;
}

/**
 * Connects a domain to the host's network with passt(1), with a filter between the two (see frame-filter.c). Both end when the VMM
 * closes its end, however it ends. Undefined when the host itself is connected to nothing. FAILED_PRECONDITION/PASST_MISSING,
 * INTERNAL/NETWORK_FAILED.
 */
export async function openUserNetwork(host: NetworkHost, directory: string): Promise<UserNetwork | undefined> {
  const routes = await hostRoutes();
  if (!routes.four && !routes.six) return undefined;
  const filter = hostTool(FRAME_FILTER);
  if (!filter)
    throw bridgeError("INTERNAL", "NETWORK_FAILED", `${FRAME_FILTER} has not been built: run make -C native`);
  const identity = await host.identities?.take();
  const companions: Companion[] = [];
  let vmmEnd: number | undefined;
  const inherited: number[] = [];
  try {
    const [zoneSide, filterNear] = socketPair();
    vmmEnd = zoneSide;
    inherited.push(filterNear);
    const [filterFar, passtEnd] = socketPair();
    inherited.push(filterFar, passtEnd);
    companions.push(
      await startCompanion("frame-filter", {
        binary: filter,
        args: [],
        directory,
        files: [filterNear, filterFar],
        identity,
      }),
    );
    // It is started as root and takes its identity itself, after it has made the namespaces that it locks itself into.
    const passt = await startCompanion("passt", {
      binary: host.passt,
      args: passtArgs({ routes, uid: identity?.uid }),
      directory,
      files: [passtEnd],
      identity: undefined,
      missing: (cause) => passtMissing(host.passt, cause),
    });
    companions.push(identity ? { ...passt, record: { ...passt.record, uid: identity.uid } } : passt);
    return { fd: vmmEnd, companions, facts: networkFacts(routes) };
  } catch (error) {
    if (vmmEnd !== undefined) closeFd(vmmEnd);
    await endCompanions(companions);
    if (identity) host.identities?.release(identity.uid);
    throw error;
  } finally {
    for (const fd of inherited) closeFd(fd);
  }
}

/** What a guest on such a network sets up. */
export function networkFacts({ four, six }: Routes): NetworkFacts {
  return {
    hardwareAddress: HARDWARE_ADDRESS,
    addresses: [...(four ? [`${ADDRESS_4}/${PREFIX_4}`] : []), ...(six ? [`${ADDRESS_6}/${PREFIX_6}`] : [])],
    gateways: [...(four ? [GATEWAY_4] : []), ...(six ? [GATEWAY_6] : [])],
    nameservers: four ? [DNS_4] : [GATEWAY_6],
    mtu: MTU,
  };
}

/** The address that a guest on such a network knows as its own: what reaches it there is not from its loopback. */
export function ownAddress({ addresses }: NetworkFacts): string | undefined {
  const plain = addresses.map((address) => address.replace(/\/.*/, ""));
  return plain.find((address) => isIPv4(address)) ?? plain[0];
}

/** passt(1). Descriptor 3 is the socket; messages go to stderr's file, no more than so many. Nothing comes in, and nothing is answered that the guest is told by its agent already. */
export function passtArgs(options: { routes: Routes; uid: number | undefined }): string[] {
  const { routes, uid } = options;
  return [
    ...["--foreground", "--quiet", "--fd", "3"],
    ...["--log-file", "/proc/self/fd/2", "--log-size", String(PASST_LOG_BYTES)],
    ...(uid === undefined ? [] : ["--runas", `${uid}:${uid}`]),
    ...["--tcp-ports", "none", "--udp-ports", "none", "--no-map-gw"],
    ...["--no-dhcp", "--no-dhcpv6", "--no-ra", "--mtu", String(MTU)],
    ...(routes.four
      ? ["--address", ADDRESS_4, "--netmask", String(PREFIX_4), "--gateway", GATEWAY_4, "--dns-forward", DNS_4]
      : ["--ipv6-only", "--dns-forward", GATEWAY_6]),
    ...(routes.six ? ["--address", ADDRESS_6, "--gateway", GATEWAY_6] : ["--ipv4-only"]),
  ];
}

/** Whether the host has default routes, as proc(5) tells: passt needs one of a family to carry it. */
export async function hostRoutes(): Promise<Routes> {
  const [four, six] = await Promise.all(["/proc/net/route", "/proc/net/ipv6_route"].map(linesOf));
  return { four: hasDefault4(four ?? []), six: hasDefault6(six ?? []) };
}

/** Of /proc/net/route: destination and mask are zeros, flag RTF_UP. */
export function hasDefault4(lines: readonly string[]): boolean {
  return lines.some((line) => {
    const [, destination, , flags, , , , mask] = line.split(/\s+/);
    return destination === "00000000" && mask === "00000000" && (Number.parseInt(flags ?? "0", 16) & 1) === 1;
  });
}

/** Of /proc/net/ipv6_route: prefix length 0, not by way of "lo", which is where unreachable is. */
export function hasDefault6(lines: readonly string[]): boolean {
  return lines.some((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[0] === "0".repeat(32) && fields[1] === "00" && fields[9] !== "lo";
  });
}

async function linesOf(path: string): Promise<string[]> {
  try {
    return (await readFile(path, "latin1")).split("\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []; // no IPv6 in this kernel
    throw error;
  }
}

function passtMissing(binary: string, cause: unknown): ZoneError {
  const message = `there is no ${binary}, which connects zones to the network: apt-get install passt, or make the zone without a network`;
  return bridgeError("FAILED_PRECONDITION", "PASST_MISSING", message, { type: "program", name: binary }, cause);
}
