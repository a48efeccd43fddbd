/* files.c - sealed memory files, and opening inside a root. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NAME_SIZE = 250 }; /* memfd_create(2): 249 bytes and NUL */

/* Seals a memfd and gives it to JavaScript; on `errnum` closes it and throws. */
static napi_value sealed(napi_env env, int fd, int errnum, const char *syscall, const char *path)
{
	if (!errnum && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
		errnum = errno;
		syscall = "fcntl";
	}
	if (!errnum)
		return za_number(env, fd);
	close(fd);
	return za_fail(env, errnum, syscall, path);
}

napi_value za_memfd(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char name[NAME_SIZE];
	uint8_t *data;
	size_t length;
	if (!za_args(env, info, 2, argv) || !za_string(env, argv[0], name, sizeof name) || !za_bytes(env, argv[1], &data, &length))
		return NULL;
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return za_fail(env, errno, "memfd_create", NULL);
	int errnum = 0;
	for (size_t done = 0; done < length && !errnum;) {
		ssize_t n = pwrite(fd, data + done, length - done, (off_t)done);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			errnum = n == 0 ? EIO : errno;
	}
	return sealed(env, fd, errnum, "pwrite", NULL);
}

/* Copies the data of `from`, `size` bytes long, and leaves its holes. 0 or an errno. */
static int copy_sparse(int from, int to, off_t size)
{
	if (ftruncate(to, size) != 0)
		return errno;
	off_t data = 0;
	while (data < size) {
		data = lseek(from, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : errno; /* no data from here on */
		off_t hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || lseek(to, data, SEEK_SET) < 0)
			return errno;
		if (hole > size)
			hole = size; /* it grew meanwhile: what is beyond is not ours */
		while (data < hole) {
			ssize_t n = sendfile(to, from, &data, (size_t)(hole - data));
			if (n < 0 && errno != EINTR)
				return errno;
			if (n == 0)
				return EIO; /* it shrank meanwhile */
		}
	}
	return 0;
}

napi_value za_memfd_from_file(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	char name[NAME_SIZE], path[PATH_MAX];
	if (!za_args(env, info, 2, argv) || !za_string(env, argv[0], name, sizeof name) || !za_string(env, argv[1], path, sizeof path))
		return NULL;
	int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return za_fail(env, errno, "open", path);
	struct stat st;
	if (fstat(from, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(from);
		return za_fail(env, EINVAL, "fstat", path);
	}
	int to = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (to < 0) {
		int errnum = errno;
		close(from);
		return za_fail(env, errnum, "memfd_create", path);
	}
	int errnum = copy_sparse(from, to, st.st_size);
	close(from);
	return sealed(env, to, errnum, "sendfile", path);
}

napi_value za_open_in_root(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	char path[PATH_MAX];
	int root, flags;
	uint32_t mode;
	if (!za_args(env, info, 4, argv) || !za_int(env, argv[0], &root) || !za_string(env, argv[1], path, sizeof path) ||
	    !za_int(env, argv[2], &flags) || !za_uint32(env, argv[3], &mode))
		return NULL;
	struct open_how how = {
		.flags = (uint32_t)flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	/* EAGAIN: something was renamed in mid-walk, so that ".." could not be proven safe; openat2(2) says to try again. */
	long fd;
	int tries = 0;
	do {
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	} while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 128)));
	return fd < 0 ? za_fail(env, errno, "openat2", path) : za_number(env, fd);
}
