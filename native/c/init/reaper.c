/*
 * reaper.c - a small init in a container (ZI_REAPER), and one without a child of its own (--pause) for a namespace to live by.
 *
 * The reaper is what the process would have been without it: same user, capabilities, filter and namespaces, so that who takes it
 * over wins nothing; it has forked from PID 1 and not been exec'ed, so it is not dumpable. The first process of a pid namespace
 * cannot die by its own signal, so PID 1 gets the status of the child through a pipe (status_fd), and signals for the child from
 * PID 1 come as REAPER_SIGNAL with a value, which says what an ordinary signal could not: SIGSTOP, SIGCHLD, and "to the group".
 */
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REAPER_SIGNAL = 64, VALUE_MARK = 0x5a490000, VALUE_GROUP = 0x100, VALUE_SIGNAL = 0xff };

/* The kernel's set, all 64: libc's sigfillset(3) leaves out those that libc keeps for itself. */
static const uint64_t all_signals = ~UINT64_C(0);

static bool block_all(void)
{
	return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, NULL, sizeof all_signals) == 0;
}

static int next_signal(siginfo_t *info)
{
	return (int)syscall(SYS_rt_sigtimedwait, &all_signals, info, NULL, sizeof all_signals);
}

int reaper_signal(pid_t pid, int signal, bool group)
{
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = REAPER_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_value.sival_int = VALUE_MARK | (group ? VALUE_GROUP : 0) | signal;
	return (int)syscall(SYS_rt_sigqueueinfo, pid, REAPER_SIGNAL, &info);
}

static void pass_on(const siginfo_t *info, pid_t inner)
{
	int value = info->si_code == SI_QUEUE ? info->si_value.sival_int : 0;
	if (info->si_signo == REAPER_SIGNAL && (value & ~(VALUE_GROUP | VALUE_SIGNAL)) == VALUE_MARK)
		kill(value & VALUE_GROUP ? -inner : inner, value & VALUE_SIGNAL);
	else
		kill(inner, info->si_signo); /* ESRCH: it has ended, and SIGCHLD is on its way */
}

_Noreturn static void end_as(int status, int status_fd)
{
	ssize_t written = write(status_fd, &status, sizeof status); /* into an empty pipe: whole */
	(void)written;
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* Reaps what has ended; does not return when it was `inner`. */
static void reap_for(pid_t inner, int status_fd, int options)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, options)) > 0)
		if (pid == inner)
			end_as(status, status_fd);
}

_Noreturn static void watch_over(pid_t inner, int status_fd)
{
	/* stdio, too: whether the child has closed its output must be seen at the other end. */
	if (status_fd > 0)
		syscall(SYS_close_range, 0u, (unsigned)status_fd - 1, 0);
	syscall(SYS_close_range, (unsigned)status_fd + 1, ~0u, 0);
	for (;;) {
		siginfo_t info;
		int signal = next_signal(&info);
		if (signal == SIGCHLD) /* also one that was sent: the real one may have been dropped for it */
			reap_for(inner, status_fd, WNOHANG);
		else if (signal > 0)
			pass_on(&info, inner);
		else if (errno != EINTR)
			break;
	}
	/* A filter forbids to wait for signals: it still must not leave the child unreaped. */
	reap_for(inner, status_fd, 0);
	_exit(127);
}

bool reaper_fork(int status_fd, bool tty)
{
	pid_t outer = getpid();
	/* Orphans come to it, not to who is above. It is PID 1's child all the while. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 || !block_all())
		return false;
	pid_t inner = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, NULL); /* fork(2) on all */
	if (inner < 0)
		return false;
	if (inner > 0) {
		setpgid(inner, inner); /* the child does the same; it may be asked for either way first */
		watch_over(inner, status_fd);
	}
	/* A group of its own, or ctrl-c would reach it twice; it must be the foreground's (SIGTTOU is blocked). */
	pid_t self = getpid();
	if (setpgid(0, 0) != 0 || (tty && ioctl(STDIN_FILENO, TIOCSPGRP, &self) != 0))
		return false;
	/* A reaper that is not the first of its pid namespace, and is killed, takes nobody along. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return false;
	if (getppid() != outer)
		_exit(127);
	const uint64_t none = 0;
	return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none) == 0;
}

/* `zone-init --pause` */
int pause_main(void)
{
	if (!block_all())
		return 1;
	for (;;) {
		siginfo_t info;
		int signal = next_signal(&info);
		if (signal == SIGTERM || signal == SIGINT)
			return 0;
		if (signal == SIGCHLD)
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		else if (signal < 0 && errno != EINTR)
			return 1;
	}
}
