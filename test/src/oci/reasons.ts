/** Why a program does not pass in a zone; undefined: nobody has said. */
export function reasonOf(program: string): string | undefined {
  return REASONS[program];
}

/** What a pass of a program does not mean; undefined: it means what it says. */
export function caveatOf(program: string): string | undefined {
  return CAVEATS[program];
}

const HOST_CGROUPS =
  "looks for the container's cgroup in this host's /sys/fs/cgroup and in cgroup v1's form; it is in the zone, in v2's";
const DEVICE =
  "puts a device node into the bundle's root, which File.CopyIn refuses: a root's devices are of no use, it is mounted nodev";

const REASONS: Partial<Record<string, string>> = {
  delete_resources: HOST_CGROUPS,
  hooks:
    "the program expects `post-start1` where its own hook writes `post-start1 called`, so nothing can pass; and what a poststop hook " +
    "writes into the root goes with the root",
  hooks_stdin:
    "the bundle of a hook's state is where it is in the zone, and its pid the zone's; what the poststop hook writes into the root goes " +
    "with the root. For crun it is a race: the pid is compared with what `state` says, which is none when the container has ended",
  linux_cgroups_blkio: "asks for blkio.leaf_weight, which cgroup v2 does not have: crun refuses it",
  linux_cgroups_cpus: HOST_CGROUPS,
  linux_cgroups_devices: HOST_CGROUPS,
  linux_cgroups_hugetlb: HOST_CGROUPS,
  linux_cgroups_memory: "asks for a limit of kernel memory, which cgroup v2 does not have: crun refuses it",
  linux_cgroups_network: "asks for net_cls and net_prio, which cgroup v2 does not have: crun refuses it",
  linux_cgroups_pids: HOST_CGROUPS,
  linux_cgroups_relative_blkio: "as linux_cgroups_blkio",
  linux_cgroups_relative_cpus: HOST_CGROUPS,
  linux_cgroups_relative_devices: HOST_CGROUPS,
  linux_cgroups_relative_hugetlb: HOST_CGROUPS,
  linux_cgroups_relative_memory: "as linux_cgroups_memory",
  linux_cgroups_relative_network: "as linux_cgroups_network",
  linux_cgroups_relative_pids: HOST_CGROUPS,
  linux_masked_paths: DEVICE,
  linux_readonly_paths: DEVICE,
  linux_ns_nopath: "reads the container's namespaces in this host's /proc, which has no process of a zone",
  linux_ns_path: "names namespaces by their paths in this host's /proc, which a zone cannot join",
  linux_process_apparmor_profile: "the zone's kernel has no AppArmor enabled; nor has this host's",
  misc_props: "its first case runs /runtimetest, which it has not put into the bundle; the others pass",
  pidfile:
    "waits for the container to run, and kills it, but its process is `true`: a race, which crun on this host loses too, as a rule. " +
    "The pid file is right",
  poststart:
    "crun 1.8 runs the hook when it has let the process go, not when that has been executed: a race, which the hook can win. On this " +
    "host crun also dies of SIGPIPE at times, when a hook ends without reading its stdin",
  prestart: "crun 1.8 calls the hook when the container is made; the program wants it called at the start",
  process_capabilities_fail: "wants a capability that does not exist to be refused; crun 1.8 warns and leaves it out",
  process_rlimits:
    "Go itself raises the soft limit of open files of a program that starts (since 1.19), and so that of the program that looks at it",
  start:
    "its last case makes a container without a process: refused when it is made (INVALID_OCI_CONFIG), as crun refuses it; the program " +
    "expects that of `start`",
  poststop_fail: "what the second poststop hook writes into the root goes with the root",
};

const CAVEATS: Partial<Record<string, string>> = {
  delete: "crun deletes a container that has not been started; our command line does not ask it to",
  delete_only_create_resources: "the cgroup that must stay is on this host",
  linux_ns_itype: "compares namespaces of this host with those of the process that stands for the container there",
  linux_ns_path_type: "wants errors, and gets them; some because the namespace is on this host",
  linux_rootfs_propagation: "crun: this host does not have all the capabilities that the bundle asks for",
  poststop: "what the hook writes into the root goes with the root: the program only warns",
  process_capabilities: "crun: as linux_rootfs_propagation",
};
