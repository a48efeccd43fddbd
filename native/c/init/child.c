/* child.c - from clone to exec: the order of enum zi_stage, in one place. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int report_fd;

/* errno of the step that failed goes to PID 1. */
static void need(bool ok, enum zi_stage stage)
{
	if (ok)
		return;
	struct spawn_failure failure = {.stage = stage, .errnum = errno};
	ssize_t written = write(report_fd, &failure, sizeof failure); /* 8 bytes into an empty pipe: whole */
	(void)written;
	_exit(127);
}

void child_reset_signals(void)
{
	/* The kernel's struct sigaction, all zero: SIG_DFL. libc's wrapper refuses the signals that it keeps for itself, which
	 * a process must not inherit ignored either. */
	const uint64_t action[4] = {0};
	sigset_t none;
	/* EINVAL for SIGKILL and SIGSTOP. */
	for (int signal = 1; signal < NSIG; signal++)
		syscall(SYS_rt_sigaction, signal, action, NULL, sizeof(uint64_t));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool close_between(int first, int last)
{
	return first > last || syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0;
}

/* Closes all from 3 on but some (-1: none), which it sorts. */
static bool close_all_but(int *keep, size_t count)
{
	int from = 3;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = i + 1; k < count; k++) {
			int low = keep[i] < keep[k] ? keep[i] : keep[k];
			keep[k] = keep[i] < keep[k] ? keep[k] : keep[i];
			keep[i] = low;
		}
		if (keep[i] < from)
			continue;
		if (!close_between(from, keep[i] - 1))
			return false;
		from = keep[i] + 1;
	}
	return close_between(from, INT32_MAX);
}

/* All of PID 1's descriptors that come here are above 2, so that no dup2 overwrites one that is still needed. */
static bool take_stdio(const struct child *child)
{
	int keep[3 + ZI_MAX_NS_JOINS] = {child->result_fd, child->status_fd, child->go_fd};
	for (size_t i = 0; i < ZI_MAX_NS_JOINS; i++)
		keep[3 + i] = child->targets[i].pidfd;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(child->stdio[fd], fd) < 0)
			return false;
	return close_all_but(keep, sizeof keep / sizeof keep[0]);
}

/* PID 1 maps the users of our new namespace; until then we are nobody. Without the byte it has killed us, or soon will. */
static void wait_for_users(int go_fd)
{
	char byte;
	if (go_fd < 0)
		return;
	while (read(go_fd, &byte, 1) != 1)
		if (errno != EINTR)
			_exit(127);
	close(go_fd);
}

static bool set_oom_score(int score)
{
	char text[16];
	int length = snprintf(text, sizeof text, "%d", score);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = write(fd, text, (size_t)length) == length;
	int errnum = errno;
	close(fd);
	errno = errnum;
	return ok;
}

/* PID 1 raises its own limit for the descriptors that it keeps; a process starts with what systemd gives, and select(2) bears. */
static bool default_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return false;
	if (limit.rlim_max > 524288)
		limit.rlim_max = 524288;
	limit.rlim_cur = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static bool has_limit(const struct spec *spec, uint32_t resource)
{
	for (uint32_t i = 0; i < spec->head->nrlimits; i++)
		if (spec->rlimits[i].resource == resource)
			return true;
	return false;
}

static bool set_limits(const struct spec *spec)
{
	/* Not when the spec has its own: what is lowered now could not be raised again in a user namespace. */
	if (!has_limit(spec, RLIMIT_NOFILE) && !default_open_files())
		return false;
	for (uint32_t i = 0; i < spec->head->nrlimits; i++) {
		const struct zi_rlimit *wanted = &spec->rlimits[i];
		struct rlimit limit = {.rlim_cur = wanted->soft, .rlim_max = wanted->hard}; /* RLIM_INFINITY is all ones, too */
		if (prlimit(0, (int)wanted->resource, &limit, NULL) != 0)
			return false;
	}
	return true;
}

/* mkdir -p, with symbolic links and ".." as the kernel takes them: the process is inside its root already. */
bool make_directories(const char *path)
{
	char part[4096];
	size_t length = strlen(path);
	if (length >= sizeof part) {
		errno = ENAMETOOLONG;
		return false;
	}
	for (size_t end = 1; end <= length; end++) {
		if (path[end] != '/' && path[end] != 0)
			continue;
		memcpy(part, path, end);
		part[end] = 0;
		if (mkdir(part, 0755) != 0 && errno != EEXIST) {
			/* A read-only or odd file system may say so before it says that the directory is there. */
			struct stat st;
			int errnum = errno;
			if (stat(part, &st) != 0 || !S_ISDIR(st.st_mode)) {
				errno = errnum;
				return false;
			}
		}
	}
	return true;
}

static bool go_to(const char *path)
{
	if (chdir(path) == 0)
		return true;
	return errno == ENOENT && make_directories(path) && chdir(path) == 0;
}

void child_main(const struct child *child)
{
	struct spec spec;
	report_fd = child->result_fd;
	umask(022);

	errno = spec_map(child->spec_fd, &spec);
	need(errno == 0, ZI_STAGE_SPEC);
	uint32_t flags = spec.head->flags;

	need(take_stdio(child), ZI_STAGE_STDIO);
	wait_for_users(child->go_fd);
	child_reset_signals();
	need(setsid() >= 0, ZI_STAGE_SESSION);
	if (flags & ZI_TTY)
		need(ioctl(STDIN_FILENO, TIOCSCTTY, 0) == 0, ZI_STAGE_TTY);
	need(set_oom_score(spec.head->oom_score_adj), ZI_STAGE_OOM);
	need(namespaces_join(child->targets), ZI_STAGE_JOIN);
	need(namespaces_furnish(spec.head->ns_create), ZI_STAGE_MOUNT);
	if (flags & ZI_NEW_CONTAINER)
		need(container_enter(&spec), ZI_STAGE_MOUNT);
	if (flags & ZI_TTY)
		need(console_reopen(), ZI_STAGE_TTY);
	if (spec.hostname[0])
		need(sethostname(spec.hostname, strlen(spec.hostname)) == 0, ZI_STAGE_HOSTNAME);
	need(set_limits(&spec), ZI_STAGE_RLIMIT);
	need(go_to(spec.cwd), ZI_STAGE_CWD);
	if (flags & ZI_READONLY_ROOT)
		need(container_readonly_root(), ZI_STAGE_MOUNT);
	umask(spec.head->umask & 0777);
	need(caps_limit_bounding(spec.head->caps_bounding), ZI_STAGE_CAPS);
	need(user_become(&spec), ZI_STAGE_USER);
	bool filtered = spec.head->nfilter > 0;
	if (filtered && !(flags & ZI_NO_NEW_PRIVS))
		need(filter_install(&spec), ZI_STAGE_SECCOMP);
	need(caps_become(&spec), ZI_STAGE_CAPS);
	if (flags & ZI_NO_NEW_PRIVS)
		need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, ZI_STAGE_NNP);
	if (filtered && (flags & ZI_NO_NEW_PRIVS))
		need(filter_install(&spec), ZI_STAGE_SECCOMP);
	if (flags & ZI_REAPER)
		need(reaper_fork(child->status_fd, flags & ZI_TTY), ZI_STAGE_REAPER);
	exec_spec(&spec);
	need(false, ZI_STAGE_EXEC);
	_exit(127);
}
