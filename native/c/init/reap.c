/* reap.c - every child that ends, asked for or inherited. */
#include "init.h"

#include <sys/wait.h>
#include <unistd.h>

/* A reaper tells how its child ended; one that was killed has not. */
static int status_of(const struct record *record, int status)
{
	int told;
	if (record->status_fd >= 0 && read(record->status_fd, &told, sizeof told) == sizeof told)
		return told;
	return status;
}

void reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (agent_ended(pid, status))
			continue;
		struct record *record = record_by_pid(pid);
		if (!record)
			continue; /* an orphan that the kernel gave to PID 1, or a child whose exec has failed */
		spawn_result(record); /* SPAWNED, or SPAWN_FAILED, before EXITED */
		if (record->state != RECORD_RUNNING)
			continue;
		record->state = RECORD_EXITED;
		record->status = status_of(record, status);
		record->time_ns = realtime_ns();
		control_tell(record, TELL_EXITED);
	}
}
