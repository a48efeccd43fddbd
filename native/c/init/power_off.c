/* power_off.c - the end: SIGTERM, a grace, SIGKILL, then sync, unmount and power off. */
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_GRACE_MS = 600000, KILL_MS = 5000, MOST_MOUNTS = 1024 };

static bool begun;
static int64_t deadline_ms;

bool powering_off(void)
{
	return begun;
}

static void signal_processes(int signal)
{
	for (size_t i = 0; i < ZI_MAX_RECORDS; i++)
		if (records[i].state == RECORD_STARTING || records[i].state == RECORD_RUNNING)
			record_signal(&records[i], signal, true);
}

/* The first request counts: a second one does not prolong the grace. */
void power_off_begin(int64_t grace_ms)
{
	if (begun)
		return;
	begun = true;
	if (grace_ms < 0 || grace_ms > MOST_GRACE_MS)
		grace_ms = grace_ms < 0 ? 0 : MOST_GRACE_MS;
	deadline_ms = now_ms() + grace_ms;
	say("powering off: %zu processes, %lld ms of grace", records_live(), (long long)grace_ms);
	signal_processes(SIGTERM);
}

/* In the foreground kill(-1) would be the whole machine: only our children, and theirs as they become ours (subreaper). */
static void kill_children(void)
{
	char path[64], line[4096];
	signal_processes(SIGKILL);
	agent_kill();
	snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	FILE *file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(line, sizeof line, file))
		for (char *next = strtok(line, " "); next; next = strtok(NULL, " "))
			if (atoi(next) > 1)
				kill(atoi(next), SIGKILL);
	fclose(file);
}

/* Until there is no child left; a process in uninterruptible sleep must not keep the zone from ending. */
static void end_all(void)
{
	int64_t give_up_ms = now_ms() + KILL_MS;
	for (;;) {
		if (in_vm)
			kill(-1, SIGKILL);
		else
			kill_children();
		pid_t pid;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			return;
		if (now_ms() >= give_up_ms) {
			warn("some processes do not end; going on without them");
			return;
		}
		rest_ms(2);
	}
}

/* proc(5) mounts: space, tab, newline and backslash as three octal digits. */
static void unescape(char *text)
{
	char *out = text;
	for (const char *in = text; *in; out++) {
		if (in[0] == '\\' && in[1] && in[2] && in[3]) {
			*out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = 0;
}

/* Last mounted first; what is busy becomes read-only, which writes it out just as well. */
static void unmount_all(void)
{
	static char *targets[MOST_MOUNTS];
	size_t count = 0;
	char *line = NULL, *target = NULL;
	size_t size = 0;
	FILE *file = fopen("/proc/self/mounts", "re");
	if (!file)
		return;
	while (count < MOST_MOUNTS && getline(&line, &size, file) > 0)
		if (sscanf(line, "%*s %ms", &target) == 1)
			targets[count++] = target;
	fclose(file);
	free(line);
	while (count-- > 0) {
		unescape(targets[count]);
		if (umount2(targets[count], UMOUNT_NOFOLLOW) != 0)
			mount(NULL, targets[count], NULL, MS_REMOUNT | MS_RDONLY, NULL);
	}
}

void leave(int code)
{
	if (!in_vm)
		exit(code);
	sync();
	unmount_all();
	/*
	 * Without ACPI (QEMU's microvm) there is no power switch: the kernel would halt, and PID 1's end would be a panic. A
	 * reset ends such a machine as well, because its VMM runs it with -no-reboot.
	 */
	reboot(access("/sys/firmware/acpi", F_OK) == 0 ? RB_POWER_OFF : RB_AUTOBOOT);
	for (;;)
		pause();
}

int power_off_tick(void)
{
	if (!begun)
		return NEVER;
	int left = until(deadline_ms);
	if (left > 0 && records_live() > 0)
		return left;
	control_flush(); /* the exits that the agent may still read */
	end_all();
	leave(0);
}
