/* spawn.c - PID 1's half of a spawn: the clone, and exec's result. child.c is the other half. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t clone_process(uint64_t flags, int cgroup_fd)
{
	struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* The process to join, as a pidfd. -1 with errno when it cannot be joined. */
static int join_target(uint64_t token)
{
	const struct record *record = record_by_token(token);
	if (record && record->state == RECORD_STARTING) {
		errno = EBUSY; /* its namespaces are not ready */
		return -1;
	}
	if (!record || record->state != RECORD_RUNNING) {
		errno = ESRCH;
		return -1;
	}
	return (int)syscall(SYS_pidfd_open, record->pid, 0);
}

/*
 * Clones into the pid namespace of `target` (setns(2): with CLONE_NEWPID it changes that of future children alone), and comes
 * back to our own.
 */
static pid_t clone_beside(int target, int cgroup_fd)
{
	if (setns(target, CLONE_NEWPID) != 0)
		return -1;
	pid_t pid = clone_process(0, cgroup_fd);
	if (pid == 0)
		return 0;
	int errnum = errno == ENOMEM ? ESRCH : errno; /* pid_namespaces(7): ENOMEM when its init has ended */
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0 || setns(self, CLONE_NEWPID) != 0)
		fatal("cannot return to the zone's pid namespace: %s", strerror(errno));
	close(self);
	errno = errnum;
	return pid;
}

static pid_t clone_child(const struct zi_spec *head, int target, int cgroup_fd)
{
	if (head->flags & ZI_JOIN)
		return clone_beside(target, cgroup_fd);
	/* The cgroup namespace comes later, by unshare(2): its root is the caller's cgroup, and clone3 would take PID 1's. */
	static const uint64_t clone_flags[] = {CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, 0, CLONE_NEWNET, CLONE_NEWUSER};
	uint64_t namespaces = 0;
	for (size_t i = 0; i < sizeof clone_flags / sizeof clone_flags[0]; i++)
		if (head->ns_create >> i & 1)
			namespaces |= clone_flags[i];
	return clone_process(namespaces, cgroup_fd);
}

static int fail(const struct zi_msg *request, enum zi_stage stage, int errnum)
{
	control_answer(&(struct zi_msg){.type = ZI_SPAWN_FAILED, .token = request->token, .flags = stage, .arg = errnum});
	return 0;
}

int spawn(const struct zi_msg *request, int *fds, size_t nfds)
{
	size_t nkept = ZI_SPAWN_NKEPT(request->flags);
	bool into_cgroup = request->flags & ZI_FD_CGROUP;
	if (nkept > ZI_MAX_KEPT || nfds != 4 + into_cgroup + nkept)
		return EINVAL;
	if (powering_off())
		return ESHUTDOWN;
	if (record_by_token(request->token))
		return EEXIST;

	struct zi_spec head;
	int errnum = spec_peek(fds[0], &head);
	if (errnum)
		return fail(request, ZI_STAGE_SPEC, errnum);
	int target = -1;
	if ((head.flags & ZI_JOIN) && (target = join_target(head.join)) < 0)
		return fail(request, ZI_STAGE_JOIN, errno);
	struct record *record = record_new(request->token);
	int result[2];
	if (!record || pipe2(result, O_CLOEXEC | O_NONBLOCK) != 0) {
		errnum = record ? errno : ENOSPC;
		if (record)
			record_free(record);
		if (target >= 0)
			close(target);
		return errnum;
	}

	pid_t pid = clone_child(&head, target, into_cgroup ? fds[4] : -1);
	if (pid == 0)
		child_main(&(struct child){
			.spec_fd = fds[0],
			.stdio = {fds[1], fds[2], fds[3]},
			.result_fd = result[1],
			.target_pidfd = target,
		});
	errnum = errno;
	close(result[1]); /* at once: the next child must not hold it */
	if (target >= 0)
		close(target);
	if (pid < 0) {
		close(result[0]);
		record_free(record);
		return fail(request, head.flags & ZI_JOIN && errnum == ESRCH ? ZI_STAGE_JOIN : ZI_STAGE_CLONE, errnum);
	}

	record->pid = pid;
	record->known = true;
	record->result_fd = result[0];
	record->spec_fd = fds[0];
	fds[0] = -1;
	for (size_t i = 0; i < nkept; i++) {
		int *kept = &fds[4 + into_cgroup + i];
		record->kept[i] = *kept;
		*kept = -1;
	}
	watch(record->result_fd, EPOLLIN, WATCH_RECORDS + (uint64_t)(record - records));
	return 0;
}

/*
 * Called when the pipe is readable, and when the child has been reaped: its only writer is gone then, so the result is there
 * and the record is STARTING no more. An event may be left over from an earlier record in this place: EAGAIN.
 */
void spawn_result(struct record *record)
{
	if (record->state != RECORD_STARTING)
		return;
	struct spawn_failure failure;
	ssize_t length;
	do {
		length = read(record->result_fd, &failure, sizeof failure);
	} while (length < 0 && errno == EINTR);
	if (length < 0 && errno == EAGAIN)
		return;
	close(record->result_fd);
	record->result_fd = -1;
	if (length == 0) { /* closed by exec; or by the end of the child, and then ZI_EXITED follows */
		record->state = RECORD_RUNNING;
		control_tell(record, TELL_SPAWNED);
		return;
	}
	record->state = RECORD_FAILED; /* the child ends by itself, and is reaped as an orphan */
	record->stage = length == sizeof failure ? failure.stage : (uint32_t)ZI_STAGE_CLONE;
	record->errnum = length == sizeof failure ? failure.errnum : EIO;
	control_tell(record, TELL_FAILED);
}
