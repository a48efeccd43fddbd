/* descriptors.c - pipes, pairs, duplicates, and reading what is there. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

napi_value za_pipe(napi_env env, napi_callback_info info)
{
	(void)info;
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0)
		return za_fail(env, errno, "pipe2", NULL);
	return za_object(env, 2, (const char *const[]){"read", "write"}, (const int64_t[]){fds[0], fds[1]});
}

napi_value za_socket_pair(napi_env env, napi_callback_info info)
{
	napi_value argv[1], array;
	bool seqpacket;
	if (!za_args(env, info, 1, argv))
		return NULL;
	if (napi_get_value_bool(env, argv[0], &seqpacket) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a boolean");
		return NULL;
	}
	int fds[2];
	if (socketpair(AF_UNIX, (seqpacket ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, fds) != 0)
		return za_fail(env, errno, "socketpair", NULL);
	napi_create_array_with_length(env, 2, &array);
	napi_set_element(env, array, 0, za_number(env, fds[0]));
	napi_set_element(env, array, 1, za_number(env, fds[1]));
	return array;
}

napi_value za_dup(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy < 0 ? za_fail(env, errno, "fcntl", NULL) : za_number(env, copy);
}

napi_value za_close_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	/* EINTR: Linux has closed it all the same, close(2). */
	if (close(fd) != 0 && errno != EINTR)
		return za_fail(env, errno, "close", NULL);
	return za_undefined(env);
}

/* libuv aborts the process on a stream whose descriptor epoll refuses (a file, /dev/null): ask first. */
napi_value za_assert_pollable(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		return za_fail(env, errno, "epoll_create1", NULL);
	struct epoll_event event = {.events = EPOLLIN};
	int errnum = epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
	close(epoll);
	return errnum ? za_fail(env, errnum, "epoll_ctl", NULL) : za_undefined(env);
}

napi_value za_read_available(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int fd;
	uint8_t *data;
	size_t size, have = 0;
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &fd) || !za_bytes(env, argv[1], &data, &size))
		return NULL;
	/* Ttys and virtio ports give at most one of their small buffers per read(2), so a short read does not mean empty. */
	while (have < size) {
		ssize_t n = read(fd, data + have, size - have);
		if (n > 0) {
			have += (size_t)n;
		} else if (n == 0 || errno == EIO) {
			/* EIO of a pty master: all slaves are closed. Both ends last, so what was read goes first. */
			return za_number(env, have ? (int64_t)have : -1);
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			return have ? za_number(env, (int64_t)have) : za_fail(env, errno, "read", NULL);
		}
	}
	return za_number(env, (int64_t)have);
}
