/* init.h - what the files of zone-init share. main.c has the loop and says how they work together. */
#ifndef ZONE_INIT_INTERNAL_H
#define ZONE_INIT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "zone_init.h"

/* log.c */
extern bool in_vm; /* PID 1 of a zone; false: --foreground */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);  /* shown by a console that is not "quiet" */
__attribute__((format(printf, 1, 2))) void warn(const char *format, ...); /* something failed: shown by every console */
/* Says why and powers off (in the foreground: exits with 1). PID 1 of a zone must never return to the kernel: it would panic. */
__attribute__((format(printf, 1, 2))) _Noreturn void fatal(const char *format, ...);

/* time.c */
int64_t now_ms(void);               /* CLOCK_MONOTONIC */
int64_t realtime_ns(void);
void rest_ms(int ms);
enum { NEVER = -1 };                /* as a timeout in ms */
int sooner(int a, int b);
int until(int64_t deadline_ms);     /* ms left, 0 when it has passed */

/* records.c */
enum record_state {
	RECORD_FREE,
	RECORD_STARTING, /* cloned; exec's result has not come */
	RECORD_RUNNING,
	RECORD_EXITED,   /* reaped; kept until ZI_RELEASE */
	RECORD_FAILED,   /* exec did not happen; freed when the agent has been told */
};

enum { TELL_SPAWNED = 1, TELL_FAILED = 2, TELL_EXITED = 4 };

struct record {
	enum record_state state;
	uint64_t token;
	pid_t pid;
	int spec_fd;
	int kept[ZI_MAX_KEPT]; /* -1: none, or dropped */
	int result_fd;         /* exec's result, while STARTING; else -1 */
	int status_fd;         /* with ZI_REAPER, where the reaper says how its child ended; else -1 */
	uint32_t stage;        /* of the failure */
	int errnum;
	int status;            /* of the exit */
	int64_t time_ns;
	bool known;            /* this agent has started it, or got it by ZI_LIST */
	uint8_t tell;          /* what it is still to be told, TELL_* */
	struct record *next;   /* in control.c's queue, while tell != 0 */
};

extern struct record records[ZI_MAX_RECORDS];
struct record *record_by_token(uint64_t token);
struct record *record_by_pid(pid_t pid); /* STARTING or RUNNING: a reaped pid may be somebody else's */
struct record *record_new(uint64_t token); /* NULL: the table is full */
void record_free(struct record *record);
bool record_drop_kept(struct record *record, size_t index);
size_t records_live(void); /* STARTING or RUNNING */
/* kill(2) of a live record: not reaped, so the pid is still its own, and no pidfd is needed. */
int record_signal(const struct record *record, int signal, bool group);

/* main.c: the epoll set */
enum watch { WATCH_SIGNALS = 0, WATCH_CONTROL = 1, WATCH_RECORDS = 2 /* + index of the record */ };
bool watch(int fd, uint32_t events, uint64_t what); /* false: errno is set */
void watch_change(int fd, uint32_t events, uint64_t what);

/* control.c: the socket to the agent */
int control_open(void); /* a new socket, greeting queued; returns the agent's end, or -1 with errno set */
void control_close(void);
void control_ready(void);
void control_flush(void);
void control_tell(struct record *record, uint8_t what);
void control_answer(const struct zi_msg *message);
void control_list(void);

/* requests.c */
void serve(const struct zi_msg *request, const int *received, size_t nfds); /* takes over the descriptors */

/* spawn.c */
/* 0, or an errno when the request is refused. Sets to -1 the descriptors that it keeps. */
int spawn(const struct zi_msg *request, int *fds, size_t nfds);
void spawn_result(struct record *record);
int adopt(const struct zi_msg *request, int *fds, size_t nfds); /* the same */
/* fork(2) by clone3(2), with flags, into a cgroup (-1: the caller's). */
pid_t clone_process(uint64_t flags, int cgroup_fd);

/* namespaces.c. Those that return false set errno. */
struct ns_target {
	int pidfd;      /* -1: none */
	uint32_t which; /* ZI_NS_* that are not PID 1's own */
};
bool targets_find(const struct zi_spec *head, struct ns_target *targets); /* ZI_MAX_NS_JOINS of them; ESRCH, EBUSY */
void targets_close(struct ns_target *targets);
pid_t clone_child(uint32_t create, const struct ns_target *targets, int cgroup_fd);
bool map_users(pid_t pid);
bool namespaces_join(const struct ns_target *targets);
bool namespaces_furnish(uint32_t created);
bool loopback_up(void);

/* reaper.c */
bool reaper_fork(int status_fd, bool tty); /* returns in the child alone */
int reaper_signal(pid_t pid, int signal, bool group); /* what the reaper is to pass on; as kill(2) */
int pause_main(void);

/* sysctl.c */
int sysctl_main(char **settings); /* NAME=VALUE, ending in NULL */

/* reap.c */
void reap(void);

/* agent.c */
struct agent_command {
	char *const *argv;
	char *const *env;
	int cgroup_fd; /* -1: none */
};
void agent_setup(const struct agent_command *command);
int agent_tick(void);         /* starts it when it is time to; ms until then */
bool agent_ended(pid_t pid, int status); /* false: it was not the agent */
void agent_kill(void);
pid_t agent_pid(void);        /* 0: not running */
unsigned agent_restarts(void);

/* power_off.c */
void power_off_begin(int64_t grace_ms);
bool powering_off(void);
int power_off_tick(void);     /* does not return when it is time; ms until then */
_Noreturn void leave(int code); /* sync, unmount, power off; in the foreground exit(code) */

/* boot.c, root.c, cgroups.c: the start of a zone */
void boot(struct agent_command *command);
int make_cgroups(void); /* the agent's, as a descriptor; -1: none */
void switch_root(const char *serial, int64_t patience_ms); /* from the initramfs to the disk with that serial; fatal */

/* spec.c: a spec, mapped and checked in the child */
struct spec {
	const struct zi_spec *head;
	const uint32_t *groups;
	const struct zi_rlimit *rlimits;
	const struct sock_filter *filter;
	char **argv, **env, **masked, **readonly; /* ending in NULL */
	const char *root, *cwd, *hostname;
};
/* 0, or an errno: EINVAL when it is malformed. */
int spec_map(int fd, struct spec *out);
/* What PID 1 itself must know: of the head, flags and namespaces alone have been checked. 0, or EINVAL. */
int spec_peek(int fd, struct zi_spec *head);

/* child.c, container.c, console.c, privileges.c, exec.c: the child's steps. Each sets errno and returns false when it fails. */
struct child {
	int spec_fd;
	int stdio[3];
	int result_fd;
	int status_fd; /* with ZI_REAPER; else -1 */
	int go_fd;     /* with a new user namespace: a byte comes when its ids are mapped; else -1 */
	struct ns_target targets[ZI_MAX_NS_JOINS];
};
struct spawn_failure { /* what goes through result_fd */
	uint32_t stage;
	int32_t errnum;
};
_Noreturn void child_main(const struct child *child);
void child_reset_signals(void);
bool container_enter(const struct spec *spec);
bool container_readonly_root(void);
bool make_directories(const char *path);
int clone_mount(const char *path);                /* of `path` alone, as a detached mount; -1 */
bool attach_mount(int mount_fd, const char *path); /* and closes it */
int console_clone(void);                          /* the tty at stdin as a detached mount; -1: it has none */
bool console_attach(int mount_fd);
bool console_reopen(void);
bool caps_limit_bounding(uint64_t bounding);
bool user_become(const struct spec *spec);
bool caps_become(const struct spec *spec);
bool filter_install(const struct spec *spec);
void exec_spec(const struct spec *spec); /* returns when it has failed, with errno set */

#endif
