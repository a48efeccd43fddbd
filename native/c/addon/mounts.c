/* mounts.c - the mount API that works on descriptors; mount-api.ts puts the steps together. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static napi_value descriptor(napi_env env, int fd, const char *syscall_name, const char *path)
{
	return fd < 0 ? za_fail(env, errno, syscall_name, path) : za_number(env, fd);
}

napi_value za_fs_open(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	char type[64];
	if (!za_args(env, info, 1, argv) || !za_string(env, argv[0], type, sizeof type))
		return NULL;
	return descriptor(env, fsopen(type, FSOPEN_CLOEXEC), "fsopen", type);
}

napi_value za_fs_pick(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	return descriptor(env, fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH), "fspick", NULL);
}

napi_value za_fs_config(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	napi_valuetype type;
	int context;
	char key[256], value[256]; /* fsconfig(2) says only EINVAL to more, fs/fsopen.c */
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &context) || !za_string(env, argv[1], key, sizeof key) ||
	    napi_typeof(env, argv[2], &type) != napi_ok)
		return NULL;
	bool flag = type == napi_undefined;
	if (!flag && !za_string(env, argv[2], value, sizeof value))
		return NULL;
	int result = flag ? fsconfig(context, FSCONFIG_SET_FLAG, key, NULL, 0) : fsconfig(context, FSCONFIG_SET_STRING, key, value, 0);
	return result == 0 ? za_undefined(env) : za_fail(env, errno, "fsconfig", key);
}

static napi_value command(napi_env env, napi_callback_info info, unsigned int which)
{
	napi_value argv[1];
	int context;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &context))
		return NULL;
	return fsconfig(context, which, NULL, NULL, 0) == 0 ? za_undefined(env) : za_fail(env, errno, "fsconfig", NULL);
}

napi_value za_fs_create(napi_env env, napi_callback_info info)
{
	return command(env, info, FSCONFIG_CMD_CREATE);
}

napi_value za_fs_reconfigure(napi_env env, napi_callback_info info)
{
	return command(env, info, FSCONFIG_CMD_RECONFIGURE);
}

napi_value za_fs_mount(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int context;
	uint32_t attributes;
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &context) || !za_uint32(env, argv[1], &attributes))
		return NULL;
	return descriptor(env, fsmount(context, FSMOUNT_CLOEXEC, attributes), "fsmount", NULL);
}

napi_value za_open_tree(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	int dir;
	char path[PATH_MAX];
	bool recursive, clone, no_follow;
	if (!za_args(env, info, 5, argv) || !za_int(env, argv[0], &dir) || !za_name(env, argv[1], path, sizeof path) ||
	    !za_bool(env, argv[2], &recursive) || !za_bool(env, argv[3], &clone) || !za_bool(env, argv[4], &no_follow))
		return NULL;
	unsigned int flags = OPEN_TREE_CLOEXEC | (clone ? OPEN_TREE_CLONE : 0) | (clone && recursive ? AT_RECURSIVE : 0) |
			     (no_follow ? AT_SYMLINK_NOFOLLOW : 0) | (path[0] ? 0 : AT_EMPTY_PATH);
	return descriptor(env, open_tree(dir, path, flags), "open_tree", path);
}

napi_value za_move_mount(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int from, to;
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &from) || !za_int(env, argv[1], &to))
		return NULL;
	if (move_mount(from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
		return za_fail(env, errno, "move_mount", NULL);
	return za_undefined(env);
}

napi_value za_set_mount_attributes(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	int fd;
	uint32_t set, clear, propagation;
	bool recursive;
	if (!za_args(env, info, 5, argv) || !za_int(env, argv[0], &fd) || !za_uint32(env, argv[1], &set) || !za_uint32(env, argv[2], &clear) ||
	    !za_uint32(env, argv[3], &propagation) || !za_bool(env, argv[4], &recursive))
		return NULL;
	struct mount_attr change = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
	if (mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &change, sizeof change) != 0)
		return za_fail(env, errno, "mount_setattr", NULL);
	return za_undefined(env);
}
