/*
 * zone_init.h - the contract between PID 1 and the agent.  docs/pid1.md is its page.
 *
 * PID 1 starts the agent with one end of a SOCK_SEQPACKET Unix socket pair as descriptor ZI_CONTROL_FD. Each message is one
 * packet: struct zi_msg, with descriptors in one SCM_RIGHTS where said. Integers are in the machine's byte order. Both ends
 * are built from this header; `version` in the first message (ZI_HELLO, from PID 1) tells an agent that came from elsewhere.
 *
 * A process is known by its token, a number that the agent chooses and never uses again in this boot. PID 1 keeps a record
 * per token from ZI_SPAWN or ZI_ADOPT until ZI_RELEASE, across restarts of the agent: its spec, its kept descriptors, its exit status.
 *
 * Order: for one token ZI_SPAWNED (or ZI_SPAWN_FAILED, and then nothing more) comes before ZI_EXITED. A request that PID 1
 * cannot serve gets ZI_ERROR with the request's type and token; nothing else answers ZI_DROP_KEPT, ZI_KILL and ZI_RELEASE.
 *
 * An agent hears of a process that it has started, or that ZI_LIST has given it, and of no other: so an exit that came before
 * ZI_LIST is in the record alone, and one after it in ZI_EXITED alone. ZI_LIST gives the processes whose exec has succeeded. A
 * spawn that has no result when its agent ends is undone (SIGKILL, no record), for nobody would hear of it.
 */
#ifndef ZONE_INIT_H
#define ZONE_INIT_H

#include <stdint.h>

#define ZI_VERSION 2
#define ZI_CONTROL_FD 3 /* in the agent */

#define ZI_MAX_RECORDS 4096           /* processes known at once */
#define ZI_MAX_SPEC (8u << 20)        /* bytes of a spec; Linux's own limit on argv + env is 2 MiB with 8 MiB stacks */
#define ZI_MAX_KEPT 3                 /* descriptors kept per record */
#define ZI_MAX_FDS (5 + ZI_MAX_KEPT)  /* descriptors in one message */

enum zi_type {
	/* agent -> PID 1 */
	ZI_SPAWN = 1,   /* fds: spec memfd, child's stdin, stdout, stderr, [cgroup dir if ZI_FD_CGROUP], kept[0..nkept) */
	ZI_KILL = 2,    /* arg: signal; flags: ZI_KILL_GROUP.  ESRCH when reaped already: a pid is never signalled after reuse */
	ZI_DROP_KEPT = 3, /* arg: index into kept[]; closes PID 1's duplicate (stdin's EOF needs that) */
	ZI_RELEASE = 4, /* forget the record; EBUSY while the process has not been reaped */
	ZI_LIST = 5,    /* answered by one ZI_RECORD per record, then ZI_LIST_END */
	ZI_POWER_OFF = 6, /* arg: grace in ms.  SIGTERM to the group of each process, SIGKILL to all after the grace, sync, unmount, power off */
	/* Takes over a process that is PID 1's own child and has no record: one that a runtime left behind, which then ended.
	 * pid; flags: bits 8-15 as ZI_SPAWN's; fds: spec memfd (of which `meta` alone counts), kept[0..nkept).
	 * ZI_SPAWNED, or ZI_SPAWN_FAILED at ZI_STAGE_ADOPT: ESRCH when it is no child (any more), EEXIST when it has a record. */
	ZI_ADOPT = 7,

	/* PID 1 -> agent */
	ZI_HELLO = 64,  /* arg: ZI_VERSION; flags: how many times the agent was restarted in this boot */
	ZI_SPAWNED = 65,  /* pid */
	ZI_SPAWN_FAILED = 66, /* arg: errno; flags: enum zi_stage */
	ZI_EXITED = 67, /* pid; status: as waitpid(2); time_ns: CLOCK_REALTIME at the reaping */
	ZI_RECORD = 68, /* pid; flags: ZI_RECORD_*; status, time_ns as above; fds: spec memfd, kept still held in order */
	ZI_LIST_END = 69,
	ZI_ERROR = 70,  /* arg: errno; flags: the request's type */
};

enum { ZI_FD_CGROUP = 1u << 0 }; /* ZI_SPAWN flags; bits 8-15, ZI_ADOPT's too: number of kept descriptors */
#define ZI_SPAWN_NKEPT(flags) (((flags) >> 8) & 0xffu)
enum { ZI_KILL_GROUP = 1u << 0 };
enum { ZI_RECORD_EXITED = 1u << 0 };
#define ZI_RECORD_KEPT(i) (1u << (8 + (i)))

struct zi_msg {
	uint32_t type;
	uint32_t flags;
	uint64_t token;
	int32_t pid;
	int32_t status;
	int64_t arg;
	int64_t time_ns;
};

/*
 * The spec, in a sealed memfd (F_SEAL_WRITE, _GROW, _SHRINK): struct zi_spec, then the arrays and strings that it points at by
 * offset from the start of the file. Strings end in NUL, and NUL is the last byte of the file. PID 1 itself looks at `flags`
 * and the namespaces alone; the child reads the rest, after clone, so that a bad spec costs one process.
 */
#define ZI_SPEC_MAGIC 0x5a535043u /* "ZSPC" */

enum zi_spec_flags {
	ZI_NEW_CONTAINER = 1u << 0, /* prepares `root` and makes it /; needs ZI_NS_MOUNT in ns_create */
	ZI_JOIN = 1u << 1,          /* join all namespaces of the process with token `join` that are not PID 1's, and its root */
	ZI_TTY = 1u << 2,           /* stdin is a tty: make it the controlling terminal; in a container /dev/console, too */
	ZI_NO_NEW_PRIVS = 1u << 3,
	ZI_READONLY_ROOT = 1u << 4, /* with ZI_NEW_CONTAINER: remount / read-only */
	ZI_KEEP_CAPS = 1u << 5,     /* uid is not 0 but the process keeps its permitted and ambient capabilities */
	ZI_REAPER = 1u << 6,        /* a parent of its own between it and PID 1, see ZI_STAGE_REAPER */
	ZI_PRIVILEGED = 1u << 7,    /* with ZI_NEW_CONTAINER: /sys and its cgroups are writable, and of paths only those are masked or
	                               read-only that the spec lists */
	ZI_MASKED_PATHS = 1u << 8,  /* with ZI_NEW_CONTAINER: `masked` instead of the built-in list (Docker's) */
	ZI_READONLY_PATHS = 1u << 9, /* the same for `readonly` */
};

enum zi_namespace {
	ZI_NS_PID = 1u << 0,
	ZI_NS_MOUNT = 1u << 1,
	ZI_NS_UTS = 1u << 2,
	ZI_NS_IPC = 1u << 3,
	ZI_NS_CGROUP = 1u << 4, /* its root is the cgroup that the process starts in */
	ZI_NS_NET = 1u << 5,    /* a new one has its loopback interface up */
	ZI_NS_USER = 1u << 6,   /* a new one maps every id to itself, and owns the other new ones */
};
#define ZI_NS_ALL 0x7fu
#define ZI_NS_CONTAINER 0x1fu /* what a container has of its own, as a rule: all but net and user */

/* Some namespaces of a running process; which is 0: none. No namespace may be named twice, here or in ns_create. */
struct zi_ns_join {
	uint64_t token;
	uint32_t which; /* ZI_NS_* */
	uint32_t pad;
};
#define ZI_MAX_NS_JOINS 2

#define ZI_MAX_PATHS 1024   /* masked, and read-only */
#define ZI_MAX_FILTER 4096  /* instructions, BPF_MAXINSNS */

struct zi_rlimit {
	uint32_t resource; /* RLIMIT_* */
	uint32_t pad;
	uint64_t soft, hard; /* UINT64_MAX: RLIM_INFINITY */
};

struct zi_spec {
	uint32_t magic;
	uint32_t size; /* of the whole file */
	uint32_t flags;
	uint32_t uid, gid, umask;
	int32_t oom_score_adj;
	uint32_t ngroups, nrlimits, argc, envc;
	uint64_t join; /* token */
	uint64_t caps_bounding, caps_permitted, caps_effective, caps_inheritable, caps_ambient; /* bit n is capability n */
	uint32_t groups;   /* offset of uint32_t[ngroups] */
	uint32_t rlimits;  /* offset of struct zi_rlimit[nrlimits] */
	uint32_t argv;     /* offset of argc strings, one after another */
	uint32_t env;      /* offset of envc strings */
	uint32_t root;     /* offset of a path: a mount point that becomes /; "" without ZI_NEW_CONTAINER */
	uint32_t cwd;      /* offset of an absolute path inside the root; made when missing */
	uint32_t hostname; /* offset; "" leaves it; "" without ZI_NS_UTS in ns_create */
	uint32_t meta;     /* offset of a string that PID 1 ignores and the agent finds again after a restart */
	uint32_t ns_create; /* ZI_NS_*; 0 with ZI_JOIN */
	uint32_t nmasked, nreadonly;
	uint32_t nfilter;   /* 0: no seccomp filter */
	uint32_t filter_flags; /* SECCOMP_FILTER_FLAG_LOG and _SPEC_ALLOW */
	uint32_t masked;    /* offset of nmasked absolute paths, one after another */
	uint32_t readonly;  /* offset of nreadonly absolute paths */
	uint32_t filter;    /* offset of struct sock_filter[nfilter] */
	struct zi_ns_join ns_join[ZI_MAX_NS_JOINS]; /* all 0 with ZI_JOIN */
};

/*
 * What the child does, in this order; a failure is reported with the stage's number and errno through a close-on-exec pipe,
 * and EOF on that pipe means that exec has succeeded.
 *
 * Nothing of PID 1's is open in the child when it enters a container. It is born in the container's pid namespace: PID 1 sets
 * its pid_for_children with setns(2) around the clone, so there is no process in between that could be killed. Until STDIO it
 * holds copies of all that PID 1 has: one that is born into a frozen cgroup holds other processes' pipes open until it thaws.
 */
enum zi_stage {
	ZI_STAGE_CLONE = 1, /* clone3(2), into the cgroup and new namespaces; the maps of a new user namespace */
	ZI_STAGE_SPEC,      /* the spec is malformed */
	ZI_STAGE_STDIO,     /* dup2 to 0, 1, 2; all others closed */
	ZI_STAGE_SESSION,   /* signals to their defaults, mask cleared; setsid(2) */
	ZI_STAGE_TTY,       /* TIOCSCTTY */
	ZI_STAGE_OOM,       /* oom_score_adj, while the zone's own /proc is there */
	ZI_STAGE_JOIN,      /* setns(2); ESRCH when the process has ended, EBUSY when its exec is under way */
	ZI_STAGE_MOUNT,     /* the cgroup namespace, slave propagation, pivot_root(2), /proc, /dev/console, masked and read-only paths;
	                       after CWD: read-only root */
	ZI_STAGE_HOSTNAME,
	ZI_STAGE_RLIMIT,
	ZI_STAGE_CWD,       /* made when missing, by root with mode 0755 */
	ZI_STAGE_CAPS,      /* the bounding set; after USER: the other sets, ambient last */
	ZI_STAGE_USER,      /* groups, gid, uid */
	ZI_STAGE_NNP,       /* before the filter, which needs it or CAP_SYS_ADMIN */
	ZI_STAGE_SECCOMP,   /* seccomp(2). Without NNP before the other capability sets are reduced (the filter must allow capset and
	                       prctl), else after it. The reaper runs under it, too (and needs fork, rt_sigtimedwait, wait4, kill) */
	ZI_STAGE_REAPER,    /* fork(2): the parent stays, as what the process would have been without; it reaps, passes signals on
	                       and ends as its child does */
	ZI_STAGE_EXEC,      /* argv[0] with "/" as it is, else along PATH of env; ENOENT, EACCES, ENOEXEC... */
	ZI_STAGE_ADOPT,     /* of ZI_ADOPT alone */
};

/*
 * What a zone's containers may not have, so that the kernel, PID 1 and the agent live through whatever they do. At boot
 *
 *     zone/memory.max = total - zi_memory_reserve(total)      total: MemTotal of /proc/meminfo, in bytes
 *     zone/pids.max   = total - zi_pids_reserve(total)        total: the lesser of kernel.threads-max and kernel.pid_max
 *     agent/memory.low = zi_memory_reserve(total), agent/memory.min = half of it
 *
 * and when memory has been added or taken away the agent sets zone/memory.max again, by the same formula (native/src/init-limits.ts).
 */
static inline uint64_t zi_memory_reserve(uint64_t total)
{
	uint64_t reserve = (UINT64_C(64) << 20) + total / 32;
	return reserve < total / 2 ? reserve : total / 2;
}

static inline uint64_t zi_pids_reserve(uint64_t total)
{
	uint64_t reserve = 128 + total / 8; /* the kernel's own threads are among them */
	return reserve < total / 2 ? reserve : total / 2;
}

#endif
