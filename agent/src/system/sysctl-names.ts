/**
 * Which kernel parameters belong to a namespace, and so may be set for what is in it without touching the rest of the zone.
 * The lists are those of the kernel's own namespaces: ipc_namespaces(7), mq_overview(7), network_namespaces(7).
 */

/** Of the ipc namespace, as names of sysctl(8). */
const IPC = new Set([
  ...["kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"],
  ...["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem"],
  ...["fs.mqueue.queues_max", "fs.mqueue.msg_max", "fs.mqueue.msgsize_max", "fs.mqueue.msg_default"],
  "fs.mqueue.msgsize_default",
]);

/**
 * What of net.* only changes how its own sockets behave, or which ports need a capability. All containers of a zone share its
 * network, so one that sets these sets them for its whole pod, which is what a pod's sysctls are for; nothing here can turn
 * the zone into a router, or away from its host. The others are for the owner of the network: Network.SetSysctl.
 */
const POD_NETWORK = new Set([
  ...["net.core.somaxconn", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_port_range"],
  ...["net.ipv4.ip_local_reserved_ports", "net.ipv4.ping_group_range", "net.ipv4.tcp_syncookies"],
  ...["net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"],
  ...["net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_rmem"],
  ...["net.ipv4.tcp_wmem", "net.ipv4.tcp_syn_retries", "net.ipv4.tcp_synack_retries", "net.ipv4.tcp_retries2"],
  ...["net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_slow_start_after_idle", "net.unix.max_dgram_qlen"],
]);

const COMPONENT = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/;
const NAME_BYTES = 128;

/** Whose a kernel parameter is. */
export type SysctlScope = "ipc" | "network" | "zone";

/** A kernel parameter that was named as sysctl(8) names them, with dots or with slashes. */
export interface SysctlName {
  /** With dots: "kernel.shmmax", "net.ipv4.conf.eth0/1.mtu". */
  name: string;
  /** Its file below /proc/sys: "kernel/shmmax", "net/ipv4/conf/eth0.1/mtu". Nothing in it leads out of there. */
  file: string;
  /** "ipc" is of the ipc namespace, "network" of the whole pod and harmless to the zone, "zone" all else, existing or not. */
  scope: SysctlScope;
}

/** Reads a name; undefined when it is none. The first separator is the one that separates: the other stands for itself. */
export function parseSysctlName(text: string): SysctlName | undefined {
  if (text.length > NAME_BYTES) return undefined;
  const slashed = /^[^./]*\//.test(text);
  const file = slashed ? text : exchange(text);
  const components = file.split("/");
  if (components.length < 2 || !components.every((component) => COMPONENT.test(component))) return undefined;
  const name = slashed ? exchange(text) : text;
  const scope = IPC.has(name) ? "ipc" : POD_NETWORK.has(name) ? "network" : "zone";
  return { name, file, scope };
}

function exchange(text: string): string {
  return text.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}
