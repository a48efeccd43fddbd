/* root.c - from the initramfs to the zone's root disk. */
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 2 };

/* Bytes read, without a line end, as a string; false when the file cannot be read. */
static bool read_line(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t length = read(fd, out, size - 1);
	close(fd);
	out[length > 0 ? length : 0] = 0;
	out[strcspn(out, "\n")] = 0;
	return length >= 0;
}

/* The device in /dev of the disk with that serial. */
static bool find_disk(const char *serial, char *device, size_t size)
{
	DIR *dir = opendir("/sys/block");
	if (!dir)
		return false;
	bool found = false;
	for (struct dirent *entry; !found && (entry = readdir(dir));) {
		char path[PATH_MAX], value[64];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/sys/block/%s/serial", entry->d_name);
		found = read_line(path, value, sizeof value) && strcmp(value, serial) == 0;
		snprintf(device, size, "/dev/%s", entry->d_name);
	}
	closedir(dir);
	return found;
}

void switch_root(const char *serial, int64_t patience_ms)
{
	static const char *const moved[] = {"/proc", "/sys", "/dev"};
	char device[PATH_MAX], target[64];
	int64_t deadline_ms = now_ms() + patience_ms;
	/* It appears when its driver has probed it: the disk first, then (devtmpfs) its node. */
	while (!find_disk(serial, device, sizeof device) || access(device, F_OK) != 0) {
		if (now_ms() >= deadline_ms)
			fatal("no disk with serial \"%s\" within %lld ms: is it attached, and its driver in /modules?", serial,
			      (long long)patience_ms);
		rest_ms(LOOK_AGAIN_MS);
	}
	if (mkdir("/newroot", 0755) != 0 && errno != EEXIST)
		fatal("cannot make /newroot: %s", strerror(errno));
	if (mount(device, "/newroot", "erofs", MS_RDONLY, NULL) != 0)
		fatal("cannot mount %s as erofs: %s", device, strerror(errno));
	for (size_t i = 0; i < sizeof moved / sizeof moved[0]; i++) {
		snprintf(target, sizeof target, "/newroot%s", moved[i]);
		if (mount(moved[i], target, NULL, MS_MOVE, NULL) != 0)
			fatal("cannot move %s to the zone's root: %s", moved[i], strerror(errno));
	}
	unlink("/init"); /* the initramfs stays below: give its memory back */
	/* Documentation/filesystems/ramfs-rootfs-initramfs.rst: rootfs cannot be unmounted or pivoted, only mounted over. */
	if (chdir("/newroot") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 || chdir("/") != 0)
		fatal("cannot switch to the zone's root: %s", strerror(errno));
}
