/*
 * zone_init.h - the contract between PID 1 and the agent.  docs/pid1.md is its page.
 *
 * PID 1 starts the agent with one end of a SOCK_SEQPACKET Unix socket pair as descriptor ZI_CONTROL_FD. Each message is one
 * packet: struct zi_msg, with descriptors in one SCM_RIGHTS where said. Integers are in the machine's byte order. Both ends
 * are built from this header; `version` in the first message (ZI_HELLO, from PID 1) tells an agent that came from elsewhere.
 *
 * A process is known by its token, a number that the agent chooses and never uses again in this boot. PID 1 keeps a record
 * per token from ZI_SPAWN until ZI_RELEASE, across restarts of the agent: its spec, its kept descriptors, its exit status.
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

#define ZI_VERSION 1
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

	/* PID 1 -> agent */
	ZI_HELLO = 64,  /* arg: ZI_VERSION; flags: how many times the agent was restarted in this boot */
	ZI_SPAWNED = 65,  /* pid */
	ZI_SPAWN_FAILED = 66, /* arg: errno; flags: enum zi_stage */
	ZI_EXITED = 67, /* pid; status: as waitpid(2); time_ns: CLOCK_REALTIME at the reaping */
	ZI_RECORD = 68, /* pid; flags: ZI_RECORD_*; status, time_ns as above; fds: spec memfd, kept still held in order */
	ZI_LIST_END = 69,
	ZI_ERROR = 70,  /* arg: errno; flags: the request's type */
};

enum { ZI_FD_CGROUP = 1u << 0 }; /* ZI_SPAWN flags; bits 8-15: number of kept descriptors */
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
 * and `join` alone; the child reads the rest, after clone, so that a bad spec costs one process.
 */
#define ZI_SPEC_MAGIC 0x5a535043u /* "ZSPC" */

enum zi_spec_flags {
	ZI_NEW_CONTAINER = 1u << 0, /* new pid, mount, uts, ipc and cgroup namespaces; root and hostname apply */
	ZI_JOIN = 1u << 1,          /* join the namespaces and root of the process with token `join`; not with ZI_NEW_CONTAINER */
	ZI_TTY = 1u << 2,           /* stdin is a tty: make it the controlling terminal */
	ZI_NO_NEW_PRIVS = 1u << 3,
	ZI_READONLY_ROOT = 1u << 4, /* with ZI_NEW_CONTAINER: remount / read-only */
	ZI_KEEP_CAPS = 1u << 5,     /* uid is not 0 but the process keeps its permitted and ambient capabilities */
};

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
	uint32_t hostname; /* offset; "" leaves it; "" without ZI_NEW_CONTAINER */
	uint32_t meta;     /* offset of a string that PID 1 ignores and the agent finds again after a restart */
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
	ZI_STAGE_CLONE = 1, /* clone3(2), into the cgroup and new namespaces */
	ZI_STAGE_SPEC,      /* the spec is malformed */
	ZI_STAGE_STDIO,     /* dup2 to 0, 1, 2; all others closed */
	ZI_STAGE_SESSION,   /* signals to their defaults, mask cleared; setsid(2) */
	ZI_STAGE_TTY,       /* TIOCSCTTY */
	ZI_STAGE_OOM,       /* oom_score_adj, while the zone's own /proc is there */
	ZI_STAGE_JOIN,      /* setns(2); ESRCH when the process has ended, EBUSY when its exec is under way */
	ZI_STAGE_MOUNT,     /* private propagation, pivot_root(2), /proc, masked and read-only paths; after CWD: read-only root */
	ZI_STAGE_HOSTNAME,
	ZI_STAGE_RLIMIT,
	ZI_STAGE_CWD,       /* made when missing, by root with mode 0755 */
	ZI_STAGE_CAPS,      /* the bounding set; after USER: the other sets, ambient last */
	ZI_STAGE_USER,      /* groups, gid, uid */
	ZI_STAGE_NNP,
	ZI_STAGE_EXEC,      /* argv[0] with "/" as it is, else along PATH of env; ENOENT, EACCES, ENOEXEC... */
};

#endif
