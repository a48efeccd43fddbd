/* agent.c - keeps the agent running. It may crash or be replaced; processes and records do not notice. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MOST_MS = 5000,
	STEADY_MS = 10000, /* an agent that has lived this long did not fail at its start */
};

static struct agent_command command;
static pid_t pid;
static unsigned starts;
static int backoff_ms;
static int64_t started_ms, next_start_ms;

void agent_setup(const struct agent_command *given)
{
	command = *given;
}

pid_t agent_pid(void)
{
	return pid;
}

unsigned agent_restarts(void)
{
	return starts;
}

void agent_kill(void)
{
	if (pid > 0)
		kill(pid, SIGKILL);
}

_Noreturn static void become_agent(int control_fd)
{
	child_reset_signals();
	setsid();
	if (!in_vm)
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* an agent without its PID 1 has nothing to serve */
	/* dup2(2) clears close-on-exec, but not when both are the same. */
	bool ready = control_fd == ZI_CONTROL_FD ? fcntl(control_fd, F_SETFD, 0) == 0 : dup2(control_fd, ZI_CONTROL_FD) >= 0;
	if (ready && syscall(SYS_close_range, ZI_CONTROL_FD + 1, ~0u, 0) == 0)
		execvpe(command.argv[0], command.argv, command.env);
	warn("cannot start the agent %s: %s", command.argv[0], strerror(errno));
	_exit(127);
}

static void start(void)
{
	int control_fd = control_open();
	if (control_fd >= 0)
		pid = clone_process(0, command.cgroup_fd);
	if (control_fd >= 0 && pid == 0)
		become_agent(control_fd);
	if (control_fd < 0 || pid < 0) {
		warn("cannot start the agent: %s", strerror(errno));
		pid = 0;
		control_close();
		next_start_ms = now_ms() + BACKOFF_MOST_MS;
	}
	if (control_fd >= 0)
		close(control_fd);
	if (pid == 0)
		return;
	starts++;
	started_ms = now_ms();
}

int agent_tick(void)
{
	if (pid > 0 || powering_off())
		return NEVER;
	int wait = until(next_start_ms);
	if (wait > 0)
		return wait;
	start();
	return pid > 0 ? NEVER : until(next_start_ms);
}

bool agent_ended(pid_t ended, int status)
{
	if (pid == 0 || ended != pid)
		return false;
	pid = 0;
	control_close();
	int64_t lived_ms = now_ms() - started_ms;
	/* 0, 100, 200, 400... ms: the first start after a long life is at once. */
	if (lived_ms >= STEADY_MS || starts == 1)
		backoff_ms = 0;
	else
		backoff_ms = backoff_ms == 0 ? BACKOFF_FIRST_MS : backoff_ms * 2;
	if (backoff_ms > BACKOFF_MOST_MS)
		backoff_ms = BACKOFF_MOST_MS;
	next_start_ms = now_ms() + backoff_ms;
	if (!powering_off())
		warn("the agent ended after %lld ms by %s %d; next start in %d ms", (long long)lived_ms,
		    WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), backoff_ms);
	return true;
}
