/*
 * cgroups.c - the zone's cgroups, and what keeps PID 1 and the agent alive whatever a container does.
 *
 * PID 1 itself stays in the root, where nothing limits it; its pages cannot be reclaimed (its file is in the initramfs, and a zone
 * has no swap), and it takes no more after its start. What it needs is a free process id, and memory for clone(2): so the zone,
 * which has all containers, may have neither all memory nor all ids. zone_init.h has the amounts.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define CGROUP "/sys/fs/cgroup"
#define ZONE CGROUP "/zone"
#define AGENT CGROUP "/agent"

/* Against all of the zone together, which has 100: the agent answers while a container takes what it can get. */
#define AGENT_CPU_WEIGHT 400

static bool write_text(const char *path, const char *text)
{
	size_t length = strlen(text);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, length) == (ssize_t)length;
	int errnum = errno;
	if (fd >= 0)
		close(fd);
	errno = errnum;
	return ok;
}

static void set(const char *path, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof text, "%" PRIu64, value);
	if (!write_text(path, text))
		warn("cannot set %s to %s: %s", path, text, strerror(errno));
}

/* The number in a file; 0 when there is none. */
static uint64_t number_in(const char *path)
{
	char text[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = 0;
	return strtoull(text, NULL, 10);
}

/* Gives the children of a cgroup each controller that it has itself. */
static void enable_controllers(const char *cgroup)
{
	char path[PATH_MAX], names[256], word[64];
	snprintf(path, sizeof path, "%s/cgroup.controllers", cgroup);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, names, sizeof names - 1);
	if (fd >= 0)
		close(fd);
	if (length < 0) {
		warn("cannot read %s: %s", path, strerror(errno));
		return;
	}
	names[length] = 0;
	snprintf(path, sizeof path, "%s/cgroup.subtree_control", cgroup);
	for (char *name = strtok(names, " \n"); name; name = strtok(NULL, " \n")) {
		snprintf(word, sizeof word, "+%s", name);
		/* One by one: a controller that refuses must not take the others with it. */
		if (!write_text(path, word))
			warn("cannot enable %s in %s: %s", name, cgroup, strerror(errno));
	}
}

static void share_memory(void)
{
	struct sysinfo info;
	if (sysinfo(&info) != 0) {
		warn("cannot tell how much memory there is: %s", strerror(errno));
		return;
	}
	uint64_t total = (uint64_t)info.totalram * info.mem_unit;
	set(ZONE "/memory.max", total - zi_memory_reserve(total));
	set(AGENT "/memory.min", zi_memory_reserve(total) / 2);
	set(AGENT "/memory.low", zi_memory_reserve(total));
}

static void share_pids(void)
{
	uint64_t threads = number_in("/proc/sys/kernel/threads-max"), pids = number_in("/proc/sys/kernel/pid_max");
	uint64_t total = threads < pids ? threads : pids;
	if (total == 0)
		warn("cannot tell how many processes there may be");
	else
		set(ZONE "/pids.max", total - zi_pids_reserve(total));
}

int make_cgroups(void)
{
	enable_controllers(CGROUP);
	if (mkdir(ZONE, 0755) != 0 || mkdir(AGENT, 0755) != 0)
		warn("cannot make the cgroups: %s", strerror(errno));
	enable_controllers(ZONE);
	share_memory();
	share_pids();
	set(AGENT "/cpu.weight", AGENT_CPU_WEIGHT);
	return open(AGENT, O_PATH | O_DIRECTORY | O_CLOEXEC); /* -1: the agent stays in PID 1's */
}
