/* system.c - mounts, nodes, clock, entropy, host name, modules. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

napi_value za_mount(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	char source[PATH_MAX], target[PATH_MAX], type[64], data[4096]; /* the kernel takes one page of options */
	uint32_t flags;
	if (!za_args(env, info, 5, argv) || !za_string(env, argv[0], source, sizeof source) ||
	    !za_string(env, argv[1], target, sizeof target) || !za_string(env, argv[2], type, sizeof type) ||
	    !za_uint32(env, argv[3], &flags) || !za_string(env, argv[4], data, sizeof data))
		return NULL;
	if (mount(source, target, type, flags, data[0] ? data : NULL) != 0)
		return za_fail(env, errno, "mount", target);
	return za_undefined(env);
}

napi_value za_unmount(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char target[PATH_MAX];
	int flags;
	if (!za_args(env, info, 2, argv) || !za_string(env, argv[0], target, sizeof target) || !za_int(env, argv[1], &flags))
		return NULL;
	return umount2(target, flags) == 0 ? za_undefined(env) : za_fail(env, errno, "umount2", target);
}

napi_value za_make_node(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	char path[PATH_MAX];
	uint32_t mode, major_number, minor_number;
	if (!za_args(env, info, 4, argv) || !za_string(env, argv[0], path, sizeof path) || !za_uint32(env, argv[1], &mode) ||
	    !za_uint32(env, argv[2], &major_number) || !za_uint32(env, argv[3], &minor_number))
		return NULL;
	if (mknod(path, mode, makedev(major_number, minor_number)) != 0)
		return za_fail(env, errno, "mknod", path);
	/* The permissions are meant as given, whatever the process's umask. */
	if (chmod(path, mode & 07777) != 0)
		return za_fail(env, errno, "chmod", path);
	return za_undefined(env);
}

napi_value za_set_time(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int64_t ms;
	if (!za_args(env, info, 1, argv) || !za_int64(env, argv[0], &ms))
		return NULL;
	if (ms < 0)
		return za_fail(env, EINVAL, "clock_settime", NULL);
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	return clock_settime(CLOCK_REALTIME, &time) == 0 ? za_undefined(env) : za_fail(env, errno, "clock_settime", NULL);
}

napi_value za_add_entropy(napi_env env, napi_callback_info info)
{
	enum { MOST = 4096 };
	napi_value argv[1];
	uint8_t *bytes;
	size_t length;
	if (!za_args(env, info, 1, argv) || !za_bytes(env, argv[0], &bytes, &length))
		return NULL;
	if (length == 0 || length > MOST)
		return za_fail(env, EINVAL, "ioctl", "/dev/urandom");
	/* struct rand_pool_info ends in a flexible array of 32-bit words. */
	_Alignas(struct rand_pool_info) unsigned char space[sizeof(struct rand_pool_info) + MOST];
	struct rand_pool_info *pool = (struct rand_pool_info *)space;
	pool->entropy_count = (int)length * 8;
	pool->buf_size = (int)length;
	memcpy(space + sizeof *pool, bytes, length);
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return za_fail(env, errno, "open", "/dev/urandom");
	int errnum = ioctl(fd, RNDADDENTROPY, pool) == 0 && ioctl(fd, RNDRESEEDCRNG) == 0 ? 0 : errno;
	close(fd);
	explicit_bzero(space, sizeof space);
	return errnum ? za_fail(env, errnum, "ioctl", "/dev/urandom") : za_undefined(env);
}

napi_value za_set_hostname(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	char name[HOST_NAME_MAX + 1];
	if (!za_args(env, info, 1, argv) || !za_string(env, argv[0], name, sizeof name))
		return NULL;
	return sethostname(name, strlen(name)) == 0 ? za_undefined(env) : za_fail(env, errno, "sethostname", NULL);
}

napi_value za_load_module(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char path[PATH_MAX], parameters[4096];
	if (!za_args(env, info, 2, argv) || !za_string(env, argv[0], path, sizeof path) ||
	    !za_string(env, argv[1], parameters, sizeof parameters))
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return za_fail(env, errno, "open", path);
	int errnum = syscall(SYS_finit_module, fd, parameters, 0) == 0 ? 0 : errno;
	close(fd);
	return errnum && errnum != EEXIST ? za_fail(env, errnum, "finit_module", path) : za_undefined(env);
}
