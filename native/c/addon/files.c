/* files.c - sealed memory files. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
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
