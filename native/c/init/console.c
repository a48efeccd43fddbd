/*
 * console.c - the name of a tty inside a container.
 *
 * The tty of a process was opened by the agent: in the container's devpts by a path of the zone's, or in the zone's devpts, which the
 * container has not. So ttyname(3) finds no name for it as it is. A container's first process gets it as /dev/console, as from Docker,
 * and stdio is opened once more by a name that exists inside: /dev/pts/N when the tty is of the container's own devpts, else
 * /dev/console.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PTS_MAJOR = 136 };

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev;
}

/* By its path, because the descriptor's mount is in PID 1's mount namespace, and nothing of another one can be bound. */
int console_clone(void)
{
	char path[4096];
	struct stat tty, found;
	ssize_t length = readlink("/proc/self/fd/0", path, sizeof path - 1);
	if (length <= 0 || fstat(STDIN_FILENO, &tty) != 0)
		return -1;
	path[length] = 0;
	int fd = clone_mount(path);
	if (fd >= 0 && (fstat(fd, &found) != 0 || !is_same(&tty, &found))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

bool console_attach(int mount_fd)
{
	struct stat st;
	int fd = open("/dev/console", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	else if (errno == ENOENT || errno == ENOTDIR || errno == EROFS)
		return true; /* a root without a /dev of its own has no /dev/console either */
	else if (errno != EEXIST)
		return false;
	if (lstat("/dev/console", &st) != 0)
		return false;
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		errno = EEXIST;
		return false;
	}
	return attach_mount(mount_fd, "/dev/console");
}

/* The tty at `path`, if it is that one. Looked at first: to open another device may do things. */
static int open_tty(const char *path, const struct stat *tty)
{
	struct stat st;
	if (lstat(path, &st) != 0 || !is_same(&st, tty))
		return -1;
	/* O_NONBLOCK: it may have become something else meanwhile. */
	int fd = open(path, O_RDWR | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && is_same(&st, tty) && fcntl(fd, F_SETFL, O_RDWR) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

bool console_reopen(void)
{
	char path[32];
	struct stat tty, st;
	if (fstat(STDIN_FILENO, &tty) != 0)
		return false;
	if (!S_ISCHR(tty.st_mode) || major(tty.st_rdev) != PTS_MAJOR)
		return true;
	snprintf(path, sizeof path, "/dev/pts/%u", minor(tty.st_rdev));
	int fd = open_tty(path, &tty);
	if (fd < 0)
		fd = open_tty("/dev/console", &tty);
	if (fd < 0)
		return true; /* it has no name here; it works without */
	bool ok = true;
	for (int i = 0; i < 3; i++)
		if (fstat(i, &st) == 0 && is_same(&st, &tty))
			ok = ok && dup2(fd, i) >= 0;
	close(fd);
	return ok;
}
