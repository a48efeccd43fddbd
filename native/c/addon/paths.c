/* paths.c - files by a directory's descriptor and a name, or by their own. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static napi_value done(napi_env env, long result, const char *syscall_name, const char *path)
{
	return result < 0 ? za_fail(env, errno, syscall_name, path) : za_undefined(env);
}

/* Reads a directory's descriptor and a name in it. */
static bool place(napi_env env, const napi_value *argv, int *dir, char *name)
{
	return za_int(env, argv[0], dir) && za_name(env, argv[1], name, PATH_MAX);
}

napi_value za_open_in_root(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	char path[PATH_MAX];
	int root, flags;
	uint32_t mode, resolve;
	if (!za_args(env, info, 5, argv) || !place(env, argv, &root, path) || !za_int(env, argv[2], &flags) ||
	    !za_uint32(env, argv[3], &mode) || !za_uint32(env, argv[4], &resolve))
		return NULL;
	struct open_how how = {.flags = (uint32_t)flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	/* EAGAIN: something was renamed in mid-walk, so that ".." could not be proven safe; openat2(2) says to try again. */
	long fd;
	int tries = 0;
	do {
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	} while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 128)));
	return fd < 0 ? za_fail(env, errno, "openat2", path) : za_number(env, fd);
}

napi_value za_open_at(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	char name[PATH_MAX];
	int dir, flags;
	uint32_t mode;
	if (!za_args(env, info, 4, argv) || !place(env, argv, &dir, name) || !za_int(env, argv[2], &flags) || !za_uint32(env, argv[3], &mode))
		return NULL;
	int fd;
	do {
		fd = openat(dir, name, flags | O_CLOEXEC, mode);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? za_fail(env, errno, "openat", name) : za_number(env, fd);
}

napi_value za_rename_at(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	char from[PATH_MAX], to[PATH_MAX];
	int from_dir, to_dir;
	uint32_t flags;
	if (!za_args(env, info, 5, argv) || !place(env, argv, &from_dir, from) || !place(env, argv + 2, &to_dir, to) ||
	    !za_uint32(env, argv[4], &flags))
		return NULL;
	return done(env, renameat2(from_dir, from, to_dir, to, flags), "renameat2", from);
}

napi_value za_mkdir_at(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char name[PATH_MAX];
	int dir;
	uint32_t mode;
	if (!za_args(env, info, 3, argv) || !place(env, argv, &dir, name) || !za_uint32(env, argv[2], &mode))
		return NULL;
	return done(env, mkdirat(dir, name, mode), "mkdirat", name);
}

napi_value za_unlink_at(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char name[PATH_MAX];
	int dir;
	bool directory;
	if (!za_args(env, info, 3, argv) || !place(env, argv, &dir, name) || !za_bool(env, argv[2], &directory))
		return NULL;
	return done(env, unlinkat(dir, name, directory ? AT_REMOVEDIR : 0), "unlinkat", name);
}

napi_value za_symlink_at(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char target[PATH_MAX], name[PATH_MAX];
	int dir;
	if (!za_args(env, info, 3, argv) || !za_name(env, argv[0], target, sizeof target) || !place(env, argv + 1, &dir, name))
		return NULL;
	return done(env, symlinkat(target, dir, name), "symlinkat", name);
}

napi_value za_link_at(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char name[PATH_MAX];
	int fd, dir;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !place(env, argv + 1, &dir, name))
		return NULL;
	return done(env, linkat(fd, "", dir, name, AT_EMPTY_PATH), "linkat", name);
}

/* An id, or -1, which chown(2) takes for "as it is". */
static bool owner(napi_env env, napi_value value, uint32_t *out)
{
	int64_t id;
	if (!za_int64(env, value, &id))
		return false;
	if (id < -1 || id >= UINT32_MAX) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "the id is out of range");
		return false;
	}
	*out = (uint32_t)id;
	return true;
}

napi_value za_chown_at(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int fd;
	uint32_t uid, gid;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !owner(env, argv[1], &uid) || !owner(env, argv[2], &gid))
		return NULL;
	return done(env, fchownat(fd, "", uid, gid, AT_EMPTY_PATH), "fchownat", NULL);
}

napi_value za_mknod_at(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	char name[PATH_MAX];
	int dir;
	uint32_t mode, major_number, minor_number;
	if (!za_args(env, info, 5, argv) || !place(env, argv, &dir, name) || !za_uint32(env, argv[2], &mode) ||
	    !za_uint32(env, argv[3], &major_number) || !za_uint32(env, argv[4], &minor_number))
		return NULL;
	/* The kernel's device numbers are 12 and 20 bits, MINORBITS; mknod(2) would drop what is above. */
	if (major_number >= 1u << 12 || minor_number >= 1u << 20)
		return za_fail(env, EINVAL, "mknodat", name);
	return done(env, mknodat(dir, name, mode, makedev(major_number, minor_number)), "mknodat", name);
}

napi_value za_readlink_at(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	char target[PATH_MAX];
	int fd;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	ssize_t length = readlinkat(fd, "", target, sizeof target);
	if (length < 0) /* ENOENT: an empty path is refused where the file is no link */
		return za_fail(env, errno == ENOENT ? EINVAL : errno, "readlinkat", NULL);
	if (napi_create_buffer_copy(env, (size_t)length, target, NULL, &result) != napi_ok)
		return NULL;
	return result;
}

napi_value za_set_times(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	int fd;
	int64_t seconds[2], nanoseconds[2];
	struct timespec times[2];
	if (!za_args(env, info, 5, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	for (int i = 0; i < 2; i++) {
		if (!za_bigint64(env, argv[1 + 2 * i], &seconds[i]) || !za_int64(env, argv[2 + 2 * i], &nanoseconds[i]))
			return NULL;
		times[i] = (struct timespec){.tv_sec = seconds[i], .tv_nsec = nanoseconds[i]};
	}
	return done(env, syscall(SYS_utimensat, fd, "", times, AT_EMPTY_PATH), "utimensat", NULL);
}

napi_value za_seek_sparse(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int fd;
	int64_t offset;
	bool hole;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !za_int64(env, argv[1], &offset) || !za_bool(env, argv[2], &hole))
		return NULL;
	off_t found = lseek(fd, offset, hole ? SEEK_HOLE : SEEK_DATA);
	if (found < 0 && errno != ENXIO)
		return za_fail(env, errno, "lseek", NULL);
	return za_number(env, found);
}
