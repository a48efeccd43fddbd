import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { agentError, describe, errnoOf, invalid } from "../errors.js";
import { parseSysctlName, type SysctlName } from "../system/sysctl-names.js";
import { invalidText } from "./errors.js";
import { NETWORK_LIMITS } from "./limits.js";

/**
 * What may be set beside what containers may set themselves, docs/network.md: how the zone's own stack behaves. Left out is what
 * reaches beyond the network (net.core's memory limits of the kernel, bpf_jit), and what nobody has asked for.
 */
const SETTABLE: readonly RegExp[] = [
  /^net\/ipv4\/ip_(forward|nonlocal_bind|default_ttl|dynaddr|no_pmtu_disc|forward_use_pmtu)$/,
  /^net\/ipv4\/tcp_(congestion_control|ecn|fastopen|mtu_probing|sack|timestamps|window_scaling|keepalive_[a-z]+)$/,
  /^net\/ipv4\/tcp_(retries1|orphan_retries|notsent_lowat|no_metrics_save|rfc1337|abort_on_overflow|base_mss)$/,
  /^net\/ipv4\/(udp_[rw]mem_min|icmp_echo_ignore_all|icmp_echo_ignore_broadcasts|icmp_ratelimit|fib_multipath_hash_policy)$/,
  /^net\/ipv4\/conf\/[^/]+\/(forwarding|rp_filter|accept_redirects|send_redirects|secure_redirects|accept_source_route)$/,
  /^net\/ipv4\/conf\/[^/]+\/(arp_announce|arp_ignore|arp_filter|arp_notify|proxy_arp|promote_secondaries|route_localnet)$/,
  /^net\/ipv4\/conf\/[^/]+\/(log_martians|src_valid_mark|ignore_routes_with_linkdown|shared_media)$/,
  /^net\/ipv4\/neigh\/[^/]+\/(gc_stale_time|base_reachable_time_ms|retrans_time_ms|delay_first_probe_time)$/,
  /^net\/ipv4\/neigh\/[^/]+\/(ucast_solicit|mcast_solicit)$/,
  /^net\/ipv6\/(bindv6only|ip_nonlocal_bind|auto_flowlabels|fib_multipath_hash_policy|idgen_delay|idgen_retries)$/,
  /^net\/ipv6\/conf\/[^/]+\/(forwarding|disable_ipv6|accept_ra|accept_ra_defrtr|accept_ra_pinfo|accept_redirects)$/,
  /^net\/ipv6\/conf\/[^/]+\/(autoconf|accept_dad|dad_transmits|use_tempaddr|temp_prefered_lft|temp_valid_lft)$/,
  /^net\/ipv6\/conf\/[^/]+\/(addr_gen_mode|keep_addr_on_down|hop_limit|mtu|proxy_ndp|use_optimistic|optimistic_dad)$/,
  /^net\/ipv6\/conf\/[^/]+\/(accept_source_route|router_solicitations|router_solicitation_delay)$/,
  /^net\/ipv6\/neigh\/[^/]+\/(gc_stale_time|base_reachable_time_ms|retrans_time_ms|delay_first_probe_time)$/,
  /^net\/ipv6\/neigh\/[^/]+\/(ucast_solicit|mcast_solicit)$/,
];

/** Errnos of a kernel parameter that takes no such value. */
const REFUSED_VALUES = new Set(["EINVAL", "ERANGE", "EDOM", "E2BIG", "ENOENT", "EOVERFLOW"]);

/** The value without its line's end. INVALID_SYSCTL, SYSCTL_UNKNOWN. `root` is /proc/sys. */
export function getSysctl(field: string | null | undefined, root = "/proc/sys"): string {
  const name = checkName(field);
  const fd = openParameter(name, root, constants.O_RDONLY);
  try {
    const buffer = Buffer.alloc(NETWORK_LIMITS.sysctlReadBytes);
    const length = readSync(fd, buffer, 0, buffer.length, 0);
    return buffer.toString("utf8", 0, length).replace(/\n$/, "");
  } catch (error) {
    throw unknown(name, error);
  } finally {
    closeSync(fd);
  }
}

/** INVALID_SYSCTL, SYSCTL_UNKNOWN, SYSCTL_NOT_ALLOWED. */
export function setSysctl(field: string | null | undefined, value: string, root = "/proc/sys"): void {
  const name = checkName(field);
  const bytes = Buffer.from(value);
  if (bytes.length > NETWORK_LIMITS.sysctlValueBytes || !/^[ -~\t]*$/.test(value)) {
    throw invalid(
      "INVALID_SYSCTL",
      `the value of ${name.name} must be at most ${NETWORK_LIMITS.sysctlValueBytes} printable ASCII characters`,
    );
  }
  if (name.scope !== "network" && !SETTABLE.some((pattern) => pattern.test(name.file))) {
    throw agentError(
      "PERMISSION_DENIED",
      "SYSCTL_NOT_ALLOWED",
      `${name.name} may not be set: only what concerns the zone's own network and cannot harm the zone`,
      { resource: { type: "sysctl", name: name.name } },
    );
  }
  const fd = openParameter(name, root, constants.O_WRONLY);
  try {
    // One write: the kernel takes it as the whole value.
    writeSync(fd, bytes.length > 0 ? bytes : Buffer.from("\n"), 0, Math.max(bytes.length, 1), 0);
  } catch (error) {
    if (!REFUSED_VALUES.has(errnoOf(error) ?? "")) throw error;
    throw invalid("INVALID_SYSCTL", `${name.name} cannot be "${value.slice(0, 80)}": ${describe(error)}`);
  } finally {
    closeSync(fd);
  }
}

function checkName(field: string | null | undefined): SysctlName {
  const text = field ?? "";
  const name = parseSysctlName(text);
  if (!name) throw invalidText("INVALID_SYSCTL", text, 'a sysctl(8) name such as "net.ipv4.ip_forward"');
  return name;
}

function openParameter(name: SysctlName, root: string, flags: number): number {
  try {
    const fd = openSync(join(root, name.file), flags | constants.O_NOFOLLOW);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
  } catch (error) {
    throw unknown(name, error);
  }
  throw unknown(name, new Error("it is a folder"));
}

function unknown({ name }: SysctlName, error: unknown): Error {
  return agentError("NOT_FOUND", "SYSCTL_UNKNOWN", `the zone's kernel has no sysctl "${name}": ${describe(error)}`, {
    resource: { type: "sysctl", name },
    cause: error,
  });
}
