/* namespaces.c - makes and joins namespaces(7): what PID 1 does around the clone, and what is left to the child. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the order of the bits of enum zi_namespace. */
static const struct {
	const char *file; /* of /proc/PID/ns */
	uint64_t clone_flag;
} kinds[] = {
	{"pid", CLONE_NEWPID}, {"mnt", CLONE_NEWNS},       {"uts", CLONE_NEWUTS},   {"ipc", CLONE_NEWIPC},
	{"cgroup", CLONE_NEWCGROUP}, {"net", CLONE_NEWNET}, {"user", CLONE_NEWUSER},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static uint64_t clone_flags(uint32_t namespaces)
{
	uint64_t flags = 0;
	for (size_t i = 0; i < KINDS; i++)
		if (namespaces >> i & 1)
			flags |= kinds[i].clone_flag;
	return flags;
}

/*
 * Those of `which` in which the process is and PID 1 is not: setns(2) refuses to enter a user namespace that one is in already.
 * The process has not been reaped, so its pid is its own. False with ESRCH when it has ended.
 */
static bool other_namespaces(pid_t pid, uint32_t which, uint32_t *others)
{
	*others = 0;
	for (size_t i = 0; i < KINDS; i++) {
		char path[64];
		struct stat ours, theirs;
		if (!(which >> i & 1))
			continue;
		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i].file);
		if (stat(path, &ours) != 0)
			continue; /* a kind that this kernel has not: all are in the one there is */
		snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kinds[i].file);
		if (stat(path, &theirs) != 0) {
			errno = errno == ENOENT ? ESRCH : errno; /* a zombie has left its namespaces */
			return false;
		}
		if (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev)
			*others |= 1u << i;
	}
	return true;
}

static bool find_target(uint64_t token, uint32_t which, struct ns_target *out)
{
	const struct record *record = record_by_token(token);
	if (record && record->state == RECORD_STARTING) {
		errno = EBUSY; /* its namespaces are not ready */
		return false;
	}
	if (!record || record->state != RECORD_RUNNING) {
		errno = ESRCH;
		return false;
	}
	if (!other_namespaces(record->pid, which, &out->which))
		return false;
	out->pidfd = (int)syscall(SYS_pidfd_open, record->pid, 0);
	return out->pidfd >= 0;
}

void targets_close(struct ns_target *targets)
{
	for (size_t i = 0; i < ZI_MAX_NS_JOINS; i++)
		if (targets[i].pidfd >= 0)
			close(targets[i].pidfd);
}

bool targets_find(const struct zi_spec *head, struct ns_target *targets)
{
	bool found = true;
	for (size_t i = 0; i < ZI_MAX_NS_JOINS; i++)
		targets[i] = (struct ns_target){.pidfd = -1};
	if (head->flags & ZI_JOIN)
		found = find_target(head->join, ZI_NS_ALL, &targets[0]);
	for (size_t i = 0; found && i < ZI_MAX_NS_JOINS; i++)
		if (head->ns_join[i].which)
			found = find_target(head->ns_join[i].token, head->ns_join[i].which, &targets[i]);
	if (!found) {
		int errnum = errno;
		targets_close(targets);
		errno = errnum;
	}
	return found;
}

/*
 * Clones into the pid namespace of `target` (setns(2): with CLONE_NEWPID it changes that of future children alone), and comes
 * back to our own.
 */
static pid_t clone_beside(int target, uint64_t flags, int cgroup_fd)
{
	if (setns(target, CLONE_NEWPID) != 0)
		return -1;
	pid_t pid = clone_process(flags, cgroup_fd);
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

pid_t clone_child(uint32_t create, const struct ns_target *targets, int cgroup_fd)
{
	/* The cgroup namespace comes later, by unshare(2): its root is the caller's cgroup, and clone3 would take PID 1's. */
	uint64_t flags = clone_flags(create & ~(uint32_t)ZI_NS_CGROUP);
	for (size_t i = 0; i < ZI_MAX_NS_JOINS; i++)
		if (targets[i].which & ZI_NS_PID)
			return clone_beside(targets[i].pidfd, flags, cgroup_fd);
	return clone_process(flags, cgroup_fd);
}

static bool write_map(pid_t pid, const char *name)
{
	static const char map[] = "0 0 4294967295";
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, map, sizeof map - 1) == sizeof map - 1;
	int errnum = errno;
	if (fd >= 0)
		close(fd);
	errno = errnum;
	return ok;
}

/* user_namespaces(7): the first process in one may map but its own id; its parent all that it has itself. */
bool map_users(pid_t pid)
{
	return write_map(pid, "uid_map") && write_map(pid, "gid_map");
}

bool namespaces_join(const struct ns_target *targets)
{
	for (size_t i = 0; i < ZI_MAX_NS_JOINS; i++) {
		if (targets[i].pidfd < 0)
			continue;
		uint64_t flags = clone_flags(targets[i].which & ~(uint32_t)ZI_NS_PID); /* born in that one */
		if (flags && setns(targets[i].pidfd, (int)flags) != 0)
			return false;
		close(targets[i].pidfd);
	}
	return true;
}

bool loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
	int errnum = errno;
	if (fd >= 0)
		close(fd);
	errno = errnum;
	return ok;
}

/* What a new namespace wants from inside. */
bool namespaces_furnish(uint32_t created)
{
	/* Now, not by clone: the child is in its cgroup since its birth, and that becomes the root of the view. */
	if ((created & ZI_NS_CGROUP) && unshare(CLONE_NEWCGROUP) != 0)
		return false;
	if ((created & ZI_NS_NET) && !loopback_up() && errno != EAFNOSUPPORT)
		return false;
	/* Nothing that is mounted from here on is seen outside; but what is mounted outside, on what was shared there, is seen here. */
	return !(created & ZI_NS_MOUNT) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0;
}
