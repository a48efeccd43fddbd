/*
 * container.c - makes a container of new namespaces and a prepared root.
 *
 * The root comes from an image, which is hostile: all paths in it are walked after pivot_root(2), when no symbolic link leads
 * out any more, and nothing is mounted on one. No process of the container runs yet; another container that its root is shared
 * with may change them meanwhile, and chooses with that no more than another place in this root.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* File systems that show the namespaces of the process that mounts them, so the agent cannot prepare them. Where there is a place. */
static const struct {
	const char *type, *target;
	unsigned long flags;
} views[] = {
	{"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY},
	{"mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC},
};

/* Docker's lists (moby, oci/defaults.go). */
static const char *const masked_paths[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware", NULL,
};
static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* MOUNT_ATTR_* and the like of <linux/mount.h>, which does not go together with <sys/mount.h> in all C libraries. */
enum { ATTR_RDONLY = 1, ATTR_NOSUID = 2, ATTR_NODEV = 4, ATTR_NOEXEC = 8 };

struct attributes {
	uint64_t set, clear, propagation, userns_fd;
};

/* mount_setattr(2) adds a flag and leaves the others; MS_REMOUNT would clear those that it does not name. */
static bool set_attributes(const char *path, struct attributes attributes, bool recursive)
{
	return syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? 0x8000u /* AT_RECURSIVE */ : 0u, &attributes, sizeof attributes) == 0;
}

static bool make_read_only(const char *path, bool recursive)
{
	return set_attributes(path, (struct attributes){.set = ATTR_RDONLY}, recursive);
}

int clone_mount(const char *path)
{
	return (int)syscall(SYS_open_tree, AT_FDCWD, path, 1u /* OPEN_TREE_CLONE */ | O_CLOEXEC | AT_SYMLINK_NOFOLLOW);
}

bool attach_mount(int mount_fd, const char *path)
{
	/* MOVE_MOUNT_F_EMPTY_PATH; without _T_SYMLINKS a link as the last part of the path is not followed. */
	bool ok = syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, path, 4u) == 0;
	int errnum = errno;
	close(mount_fd);
	errno = errnum;
	return ok;
}

/*
 * A /proc of our pid namespace, not mounted anywhere yet. Made before the old root goes: in a new user namespace the kernel gives
 * one only to who sees one already.
 */
static int make_proc(void)
{
	int context = (int)syscall(SYS_fsopen, "proc", 1u /* FSOPEN_CLOEXEC */);
	if (context < 0)
		return -1;
	int fd = -1;
	if (syscall(SYS_fsconfig, context, 1u /* FSCONFIG_SET_STRING */, "source", "proc", 0) == 0 &&
	    syscall(SYS_fsconfig, context, 6u /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, context, 1u /* FSMOUNT_CLOEXEC */, ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
	int errnum = errno;
	close(context);
	errno = errnum;
	return fd;
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

static bool attach_proc(int proc_fd)
{
	if (mkdir("/proc", 0755) != 0 && errno != EEXIST && errno != EROFS)
		return false;
	return is_directory("/proc") && attach_mount(proc_fd, "/proc");
}

static bool mount_views(bool privileged)
{
	for (size_t i = 0; i < LENGTH(views); i++) {
		unsigned long flags = privileged ? views[i].flags & ~(unsigned long)MS_RDONLY : views[i].flags;
		if (!is_directory(views[i].target))
			continue;
		/* ENODEV: the kernel has no such file system. EBUSY: it is mounted there already. */
		if (mount(views[i].type, views[i].target, views[i].type, flags, NULL) != 0 && errno != ENODEV && errno != EBUSY)
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
	if (stat(path, &st) != 0) /* of what a link leads to, as mount(2) sees it */
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
	if (S_ISDIR(st.st_mode))
		return mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0k,mode=755") == 0;
	return null_device(null_path, sizeof null_path) && mount(null_path, path, NULL, MS_BIND, NULL) == 0;
}

static bool mask_all(const char *const *paths)
{
	for (; *paths; paths++)
		if (!mask(*paths))
			return false;
	return true;
}

static bool make_all_read_only(const char *const *paths)
{
	for (; *paths; paths++) {
		if (mount(*paths, *paths, NULL, MS_BIND | MS_REC, NULL) == 0) {
			if (!make_read_only(*paths, true))
				return false;
		} else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
			return false;
		}
	}
	return true;
}

/* The spec's lists, else Docker's, or none for a privileged container. */
static bool restrict_paths(const struct spec *spec)
{
	static const char *const none[] = {NULL};
	uint32_t flags = spec->head->flags;
	bool privileged = flags & ZI_PRIVILEGED;
	const char *const *masked = privileged ? none : masked_paths, *const *readonly = privileged ? none : readonly_paths;
	return mask_all(flags & ZI_MASKED_PATHS ? (const char *const *)spec->masked : masked) &&
	       make_all_read_only(flags & ZI_READONLY_PATHS ? (const char *const *)spec->readonly : readonly);
}

/* The agent mounts /sys, and the container's cgroup in it, read-only. */
static bool make_sys_writable(void)
{
	/* EINVAL: nothing is mounted there. */
	return set_attributes("/sys", (struct attributes){.clear = ATTR_RDONLY}, true) || errno == ENOENT || errno == EINVAL;
}

bool container_enter(const struct spec *spec)
{
	uint32_t flags = spec->head->flags;
	int proc_fd = make_proc();
	int console_fd = flags & ZI_TTY ? console_clone() : -1;
	if (proc_fd < 0)
		return false;
	/* What a less privileged mount namespace has got from another one is locked, and no locked mount can become the root. */
	if ((spec->head->ns_create & ZI_NS_USER) && mount(spec->root, spec->root, NULL, MS_BIND | MS_REC, NULL) != 0)
		return false;
	/* pivot_root(2), NOTES: the old root comes to lie over the new one at "/", and is the one that is detached. */
	if (chdir(spec->root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
		return false;
	if (!attach_proc(proc_fd) || !mount_views(flags & ZI_PRIVILEGED))
		return false;
	if ((flags & ZI_PRIVILEGED) && !make_sys_writable())
		return false;
	return (console_fd < 0 || console_attach(console_fd)) && restrict_paths(spec);
}

bool container_readonly_root(void)
{
	return make_read_only("/", false);
}
