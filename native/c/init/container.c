/*
 * container.c - makes a container of new namespaces and a prepared root.
 *
 * The root comes from an image, which is hostile: all paths in it are walked after pivot_root(2), when no symbolic link leads
 * out any more, and nothing is mounted on one. No process of the container runs yet that could change them meanwhile.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* File systems that show the namespaces of the process that mounts them, so the agent cannot prepare them. */
static const struct {
	const char *type, *target, *options;
	unsigned long flags;
	bool required;
} views[] = {
	{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true},
	{"cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, false},
	{"mqueue", "/dev/mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false},
};

/* Docker's lists (moby, oci/defaults.go). */
static const char *const masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
};
static const char *const read_only[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* MOUNT_ATTR_RDONLY of <linux/mount.h>, which does not go together with <sys/mount.h> in all C libraries. */
struct attributes {
	uint64_t set, clear, propagation, userns_fd;
};

/* mount_setattr(2) adds a flag and leaves the others; MS_REMOUNT would clear those that it does not name. */
static bool make_read_only(const char *path, bool recursive)
{
	struct attributes attributes = {.set = 1};
	return syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? 0x8000u /* AT_RECURSIVE */ : 0u, &attributes, sizeof attributes) == 0;
}

/* ENOENT when it is not there, ENOTDIR when it is anything but a directory itself. */
static bool is_directory(const char *path)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return false;
	if (S_ISDIR(st.st_mode))
		return true;
	errno = ENOTDIR;
	return false;
}

static bool mount_views(void)
{
	for (size_t i = 0; i < LENGTH(views); i++) {
		const char *target = views[i].target;
		if (views[i].required && mkdir(target, 0755) != 0 && errno != EEXIST && errno != EROFS)
			return false;
		if (!is_directory(target)) {
			if (views[i].required)
				return false;
			continue;
		}
		if (mount(views[i].type, target, views[i].type, views[i].flags, views[i].options) == 0)
			continue;
		/* ENODEV: the kernel has no such file system. EBUSY: it is mounted there already. */
		if (views[i].required || (errno != ENODEV && errno != EBUSY))
			return false;
	}
	return true;
}

/* "/proc/self/fd/N" of the container's own /dev/null, which must be that device: what is bound over a file hides it. */
static bool null_device(char *path, size_t size)
{
	struct stat st;
	int fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
		close(fd);
		errno = ENODEV;
		return false;
	}
	snprintf(path, size, "/proc/self/fd/%d", fd); /* the descriptor is close-on-exec and needed until then */
	return true;
}

static bool mask(const char *path)
{
	struct stat st;
	char null_path[64];
	if (lstat(path, &st) != 0)
		return errno == ENOENT || errno == ENOTDIR;
	if (S_ISDIR(st.st_mode))
		return mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0k,mode=755") == 0;
	return null_device(null_path, sizeof null_path) && mount(null_path, path, NULL, MS_BIND, NULL) == 0;
}

static bool restrict_paths(void)
{
	for (size_t i = 0; i < LENGTH(masked); i++)
		if (!mask(masked[i]))
			return false;
	for (size_t i = 0; i < LENGTH(read_only); i++) {
		const char *path = read_only[i];
		if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) == 0) {
			if (!make_read_only(path, true))
				return false;
		} else if (errno != ENOENT && errno != ENOTDIR) {
			return false;
		}
	}
	return true;
}

bool container_enter(const char *root)
{
	/* Now, not by clone: the child is in its cgroup since its birth, and that becomes the root of the view. */
	if (unshare(CLONE_NEWCGROUP) != 0)
		return false;
	/* Nothing that is mounted from here on is seen outside, and nothing from outside in here. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || chdir(root) != 0)
		return false;
	/* pivot_root(2), NOTES: the old root comes to lie over the new one at "/", and is the one that is detached. */
	if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
		return false;
	return mount_views() && restrict_paths();
}

bool container_readonly_root(void)
{
	return make_read_only("/", false);
}
