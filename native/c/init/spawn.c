/* spawn.c - PID 1's half of a spawn: the clone, and exec's result; child.c is the other half. And what is taken over instead. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

static int fail(const struct zi_msg *request, enum zi_stage stage, int errnum)
{
	control_answer(&(struct zi_msg){.type = ZI_SPAWN_FAILED, .token = request->token, .flags = stage, .arg = errnum});
	return 0;
}

/* As many pipes as the child needs, close-on-exec; -1 for those that it does not. */
struct pipes {
	int result[2], status[2], go[2];
};

static void close_pair(int *pair)
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static void close_pipes(struct pipes *pipes)
{
	int errnum = errno;
	close_pair(pipes->result);
	close_pair(pipes->status);
	close_pair(pipes->go);
	errno = errnum;
}

static bool open_pipes(const struct zi_spec *head, struct pipes *out)
{
	*out = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
	if (pipe2(out->result, O_CLOEXEC | O_NONBLOCK) == 0 &&
	    (!(head->flags & ZI_REAPER) || pipe2(out->status, O_CLOEXEC | O_NONBLOCK) == 0) &&
	    (!(head->ns_create & ZI_NS_USER) || pipe2(out->go, O_CLOEXEC) == 0))
		return true;
	close_pipes(out);
	return false;
}

/* Keeps the reading ends; what the child holds is closed at once: the next child must not hold it. */
static int keep_end(int *pair)
{
	int fd = pair[0];
	pair[0] = -1;
	return fd;
}

static void take_fds(struct record *record, int *spec_fd, int *kept, size_t nkept)
{
	record->spec_fd = *spec_fd;
	*spec_fd = -1;
	for (size_t i = 0; i < nkept; i++) {
		record->kept[i] = kept[i];
		kept[i] = -1;
	}
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
	struct child child = {.spec_fd = fds[0], .stdio = {fds[1], fds[2], fds[3]}};
	if (!targets_find(&head, child.targets))
		return fail(request, ZI_STAGE_JOIN, errno);
	struct record *record = record_new(request->token);
	struct pipes pipes;
	if (!record || !open_pipes(&head, &pipes)) {
		errnum = record ? errno : ENOSPC;
		if (record)
			record_free(record);
		targets_close(child.targets);
		return errnum;
	}
	/* Before the clone: when it cannot be there is no child to undo. Closing the pipe takes it back. */
	if (!watch(pipes.result[0], EPOLLIN, WATCH_RECORDS + (uint64_t)(record - records))) {
		errnum = errno;
		close_pipes(&pipes);
		record_free(record);
		targets_close(child.targets);
		return fail(request, ZI_STAGE_CLONE, errnum);
	}
	child.result_fd = pipes.result[1];
	child.status_fd = pipes.status[1];
	child.go_fd = pipes.go[0];

	pid_t pid = clone_child(head.ns_create, child.targets, into_cgroup ? fds[4] : -1);
	if (pid == 0)
		child_main(&child);
	errnum = errno;
	targets_close(child.targets);
	if (pid > 0 && (head.ns_create & ZI_NS_USER) && !(map_users(pid) && write(pipes.go[1], "", 1) == 1)) {
		errnum = errno;
		kill(pid, SIGKILL); /* reaped as an orphan */
		pid = -1;
	}
	if (pid < 0) {
		close_pipes(&pipes);
		record_free(record);
		bool target_ended = errnum == ESRCH && (head.flags & ZI_JOIN || head.ns_join[0].which || head.ns_join[1].which);
		return fail(request, target_ended ? ZI_STAGE_JOIN : ZI_STAGE_CLONE, errnum);
	}

	record->pid = pid;
	record->known = true;
	record->result_fd = keep_end(pipes.result);
	record->status_fd = keep_end(pipes.status);
	close_pipes(&pipes);
	take_fds(record, &fds[0], &fds[4 + into_cgroup], nkept);
	return 0;
}

int adopt(const struct zi_msg *request, int *fds, size_t nfds)
{
	size_t nkept = ZI_SPAWN_NKEPT(request->flags);
	struct zi_spec head;
	siginfo_t info;
	if (nkept > ZI_MAX_KEPT || nfds != 1 + nkept)
		return EINVAL;
	if (powering_off())
		return ESHUTDOWN;
	if (record_by_token(request->token))
		return EEXIST;
	if (spec_peek(fds[0], &head) != 0)
		return fail(request, ZI_STAGE_SPEC, EINVAL);
	/* WNOWAIT: a child that has ended stays for reap(), which then tells of it. */
	if (request->pid <= 0 || request->pid == agent_pid() || waitid(P_PID, (id_t)request->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
		return fail(request, ZI_STAGE_ADOPT, ESRCH);
	if (record_by_pid(request->pid))
		return fail(request, ZI_STAGE_ADOPT, EEXIST);
	struct record *record = record_new(request->token);
	if (!record)
		return ENOSPC;
	record->state = RECORD_RUNNING;
	record->pid = request->pid;
	record->known = true;
	take_fds(record, &fds[0], &fds[1], nkept);
	control_tell(record, TELL_SPAWNED);
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
