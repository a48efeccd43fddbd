/* inotify.c - changes of files, inotify(7). Events are read as from any descriptor. */
#include "addon.h"

#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>

napi_value za_inotify_open(napi_env env, napi_callback_info info)
{
	(void)info;
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return fd < 0 ? za_fail(env, errno, "inotify_init1", NULL) : za_number(env, fd);
}

napi_value za_inotify_watch(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char path[PATH_MAX];
	int fd;
	uint32_t mask;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !za_name(env, argv[1], path, sizeof path) ||
	    !za_uint32(env, argv[2], &mask))
		return NULL;
	int watch = inotify_add_watch(fd, path, mask);
	return watch < 0 ? za_fail(env, errno, "inotify_add_watch", path) : za_number(env, watch);
}
