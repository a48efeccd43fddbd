/*
 * filesystems.c - calls on a whole file system. They may take as long as the disk does, so each can also run on libuv's
 * thread pool; such a call duplicates the descriptor, and so is safe from one that is closed meanwhile.
 */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* fs/ext4/ext4.h: not in the headers for programs. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/* fs/xfs/libxfs/xfs_fs.h, likewise. */
struct xfs_growfs_data {
	uint64_t newblocks;
	uint32_t imaxpct;
};
struct xfs_fsop_geom_v1 {
	uint32_t blocksize, rtextsize, agblocks, agcount, logblocks, sectsize, inodesize, imaxpct;
	uint64_t datablocks, rtblocks, rtextents, logstart;
	unsigned char uuid[16];
	uint32_t sunit, swidth;
	int32_t version;
	uint32_t flags, logsectsize, rtsectsize, dirblocksize;
};
#define XFS_IOC_FSGEOMETRY_V1 _IOR('X', 100, struct xfs_fsop_geom_v1)
#define XFS_IOC_FSGROWFSDATA _IOW('X', 110, struct xfs_growfs_data)
_Static_assert(sizeof(struct xfs_growfs_data) == 16 && sizeof(struct xfs_fsop_geom_v1) == 112, "the kernel's layout");

/* Each returns 0 or -1 with errno; `value` is argument and result. */
static int freeze(int fd, uint64_t *value)
{
	(void)value;
	return ioctl(fd, FIFREEZE, 0);
}

static int thaw(int fd, uint64_t *value)
{
	(void)value;
	return ioctl(fd, FITHAW, 0);
}

static int trim(int fd, uint64_t *value)
{
	struct fstrim_range range = {.len = UINT64_MAX, .minlen = *value};
	int result = ioctl(fd, FITRIM, &range);
	*value = range.len; /* what was discarded */
	return result;
}

static int resize_ext4(int fd, uint64_t *value)
{
	return ioctl(fd, EXT4_IOC_RESIZE_FS, value);
}

static int grow_xfs(int fd, uint64_t *value)
{
	struct xfs_fsop_geom_v1 geometry;
	if (ioctl(fd, XFS_IOC_FSGEOMETRY_V1, &geometry) != 0)
		return -1;
	struct xfs_growfs_data growth = {.newblocks = *value, .imaxpct = geometry.imaxpct};
	return ioctl(fd, XFS_IOC_FSGROWFSDATA, &growth);
}

static int sync_fs(int fd, uint64_t *value)
{
	(void)value;
	return syncfs(fd);
}

static int sync_all(int fd, uint64_t *value)
{
	(void)fd;
	(void)value;
	sync();
	return 0;
}

/* In the order of CALL in filesystems.ts. */
static const struct {
	const char *name;
	int (*run)(int fd, uint64_t *value);
} calls[] = {
	{"FIFREEZE", freeze}, {"FITHAW", thaw},	 {"FITRIM", trim}, {"EXT4_IOC_RESIZE_FS", resize_ext4}, {"XFS_IOC_FSGROWFSDATA", grow_xfs},
	{"syncfs", sync_fs},  {"sync", sync_all},
};

struct work {
	uint32_t call;
	int fd; /* a duplicate, or -1 */
	uint64_t value;
	int errnum;
	napi_deferred deferred;
	napi_async_work handle;
};

static bool read_call(napi_env env, napi_callback_info info, struct work *work)
{
	napi_value argv[3];
	if (!za_args(env, info, 3, argv) || !za_uint32(env, argv[0], &work->call) || !za_int(env, argv[1], &work->fd) ||
	    !za_biguint64(env, argv[2], &work->value))
		return false;
	if (work->call < sizeof calls / sizeof calls[0])
		return true;
	za_fail(env, EINVAL, "fsCall", NULL);
	return false;
}

static napi_value result_of(napi_env env, const struct work *work)
{
	napi_value result;
	if (work->errnum)
		return za_fail(env, work->errnum, calls[work->call].name, NULL);
	return napi_create_bigint_uint64(env, work->value, &result) == napi_ok ? result : NULL;
}

static void execute(napi_env env, void *data)
{
	(void)env;
	struct work *work = data;
	work->errnum = calls[work->call].run(work->fd, &work->value) == 0 ? 0 : errno;
}

napi_value za_fs_call(napi_env env, napi_callback_info info)
{
	struct work work = {0};
	if (!read_call(env, info, &work))
		return NULL;
	execute(env, &work);
	return result_of(env, &work);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct work *work = data;
	napi_value result = NULL, error = NULL;
	if (status != napi_ok)
		work->errnum = ECANCELED; /* the environment is ending */
	if (work->fd >= 0)
		close(work->fd);
	result = result_of(env, work);
	if (result)
		napi_resolve_deferred(env, work->deferred, result);
	else if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_reject_deferred(env, work->deferred, error);
	napi_delete_async_work(env, work->handle);
	free(work);
}

napi_value za_fs_call_async(napi_env env, napi_callback_info info)
{
	struct work *work = calloc(1, sizeof *work);
	napi_value promise = NULL, name;
	if (!work)
		return za_fail(env, ENOMEM, "calloc", NULL);
	if (!read_call(env, info, work)) {
		free(work);
		return NULL;
	}
	if (work->fd >= 0 && (work->fd = fcntl(work->fd, F_DUPFD_CLOEXEC, 3)) < 0) {
		int errnum = errno;
		free(work);
		return za_fail(env, errnum, "fcntl", NULL);
	}
	if (napi_create_string_utf8(env, calls[work->call].name, NAPI_AUTO_LENGTH, &name) == napi_ok &&
	    napi_create_async_work(env, NULL, name, execute, complete, work, &work->handle) == napi_ok) {
		if (napi_create_promise(env, &work->deferred, &promise) == napi_ok && napi_queue_async_work(env, work->handle) == napi_ok)
			return promise;
		napi_delete_async_work(env, work->handle);
	}
	if (work->fd >= 0)
		close(work->fd);
	free(work);
	return za_fail(env, EAGAIN, "napi_queue_async_work", NULL);
}

napi_value za_block_device_bytes(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	uint64_t bytes;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	if (ioctl(fd, BLKGETSIZE64, &bytes) != 0)
		return za_fail(env, errno, "BLKGETSIZE64", NULL);
	return bytes > (UINT64_C(1) << 53) - 1 ? za_fail(env, EOVERFLOW, "BLKGETSIZE64", NULL) : za_number(env, (int64_t)bytes);
}
