/* boot.c - what the kernel leaves to PID 1: mounts, modules, root, cgroups. A failure without which the zone can run is said only. */
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MODULES "/modules"
#define CGROUP "/sys/fs/cgroup"
#define ROOT_SERIAL "zone-root"

enum { ROOT_PATIENCE_MS = 30000 };

/*
 * The kernel counts these by user, and root of every container is root: one that uses them up takes them from PID 1, the agent
 * and all others. So memory is to end first, which each has of its own: the kernel charges it to the container's cgroup.
 */
static const struct {
	const char *path, *value;
} user_limits[] = {
	{"/proc/sys/fs/epoll/max_user_watches", "2147483647"},
	{"/proc/sys/fs/inotify/max_user_instances", "65536"},
	{"/proc/sys/fs/inotify/max_user_watches", "1048576"},
};

/* In order. The early ones are mounted in the initramfs and move along to the root. */
static const struct {
	const char *type, *target, *options;
	unsigned long flags;
	bool early;
} mounts[] = {
	{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true},
	{"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true},
	{"devtmpfs", "/dev", "mode=755", MS_NOSUID, true},
	{"devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC, false},
	{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, false},
	{"tmpfs", "/run", "mode=755", MS_NOSUID | MS_NODEV, false},
	{"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV, false},
	{"cgroup2", CGROUP, NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false},
};

static void mount_all(bool early)
{
	for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
		if (mounts[i].early != early)
			continue;
		mkdir(mounts[i].target, 0755); /* exists on the root, which is read-only; else mount(2) says what is wrong */
		if (mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].options) != 0 && errno != EBUSY)
			fatal("cannot mount %s at %s: %s", mounts[i].type, mounts[i].target, strerror(errno));
	}
}

/* The kernel gives PID 1 the initramfs's /dev/console, or nothing. 0, 1 and 2 must be open: no other descriptor may be one of them. */
static void open_console(void)
{
	int null = open("/dev/null", O_RDWR);
	int console = open("/dev/console", O_WRONLY | O_NOCTTY);
	if (null < 0)
		fatal("cannot open /dev/null: %s", strerror(errno));
	if (dup2(null, 0) < 0 || dup2(console < 0 ? null : console, 1) < 0 || dup2(console < 0 ? null : console, 2) < 0)
		fatal("cannot set up stdio: %s", strerror(errno));
	syscall(SYS_close_range, 3, ~0u, 0);
}

static int is_module(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return length > 3 && strcmp(entry->d_name + length - 3, ".ko") == 0;
}

/* In the order of their names, which the image builder numbered by dependency. */
static void load_modules(void)
{
	struct dirent **entries;
	int count = scandir(MODULES, &entries, is_module, alphasort);
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];
		snprintf(path, sizeof path, MODULES "/%s", entries[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
			warn("cannot load %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		unlink(path); /* the initramfs is memory */
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* 127.0.0.1 for everybody; a kernel without a network has none. */
static void raise_loopback(void)
{
	if (!loopback_up())
		warn("cannot raise the loopback interface: %s", strerror(errno));
}

static void protect_from_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "-1000", 5) != 5)
		warn("cannot set oom_score_adj: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void raise_user_limits(void)
{
	for (size_t i = 0; i < sizeof user_limits / sizeof user_limits[0]; i++) {
		const char *value = user_limits[i].value;
		int fd = open(user_limits[i].path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
			warn("cannot set %s to %s: %s", user_limits[i].path, value, strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

/* "ZONE_CMDLINE=" and the kernel's command line. */
static char *command_line(void)
{
	static char text[4096] = "ZONE_CMDLINE=";
	size_t head = strlen(text);
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text + head, sizeof text - head - 1);
	if (length < 0)
		warn("cannot read /proc/cmdline: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	text[head + (length > 0 ? (size_t)length : 0)] = 0;
	text[strcspn(text, "\n")] = 0;
	return text;
}

void boot(struct agent_command *command)
{
	static char *argv[] = {"/bin/node", "/usr/lib/zone/agent.mjs", NULL};
	static char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/run", NULL, NULL};
	umask(022);
	mount_all(true);
	open_console();
	load_modules();
	switch_root(ROOT_SERIAL, ROOT_PATIENCE_MS);
	mount_all(false);
	protect_from_oom();
	raise_loopback();
	raise_user_limits();
	env[2] = command_line();
	*command = (struct agent_command){.argv = argv, .env = env, .cgroup_fd = make_cgroups()};
}
