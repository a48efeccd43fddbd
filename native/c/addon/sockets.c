/* sockets.c - packets with descriptors on Unix sockets, and AF_VSOCK. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum { MAX_FDS = 16 };

union control { /* the alignment that cmsg(3) asks for */
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
};

napi_value za_peer_credentials(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	struct ucred peer;
	socklen_t length = sizeof peer;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return za_fail(env, errno, "getsockopt", NULL);
	return za_object(env, 3, (const char *const[]){"pid", "uid", "gid"}, (const int64_t[]){peer.pid, peer.uid, peer.gid});
}

static bool fd_array(napi_env env, napi_value array, int *fds, uint32_t *count)
{
	if (napi_get_array_length(env, array, count) != napi_ok || *count > MAX_FDS) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected an array of at most 16 descriptors");
		return false;
	}
	for (uint32_t i = 0; i < *count; i++) {
		napi_value element;
		if (napi_get_element(env, array, i, &element) != napi_ok || !za_int(env, element, &fds[i]))
			return false;
	}
	return true;
}

napi_value za_send_packet(napi_env env, napi_callback_info info)
{
	napi_value argv[3], sent;
	int fd, fds[MAX_FDS];
	uint8_t *data;
	size_t length;
	uint32_t count;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !za_bytes(env, argv[1], &data, &length) ||
	    !fd_array(env, argv[2], fds, &count))
		return NULL;
	union control control = {0};
	struct iovec body = {.iov_base = data, .iov_len = length};
	struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1};
	if (count > 0) {
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * count);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
	}
	ssize_t n;
	do {
		n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return za_fail(env, errno, "sendmsg", NULL);
	return napi_get_boolean(env, n >= 0, &sent) == napi_ok ? sent : NULL;
}

napi_value za_receive_packet(napi_env env, napi_callback_info info)
{
	napi_value argv[2], array, result;
	int fd, fds[MAX_FDS];
	uint8_t *data;
	size_t length, count = 0;
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &fd) || !za_bytes(env, argv[1], &data, &length))
		return NULL;
	union control control;
	struct iovec body = {.iov_base = data, .iov_len = length};
	struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;
	do {
		n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? za_undefined(env) : za_fail(env, errno, "recvmsg", NULL);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); /* the one SCM_RIGHTS that Linux sends fits, or is truncated */
		memcpy(fds, CMSG_DATA(c), sizeof(int) * count);
	}
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		return za_fail(env, message.msg_flags & MSG_TRUNC ? EMSGSIZE : EMFILE, "recvmsg", NULL);
	}
	napi_create_array_with_length(env, count, &array);
	for (size_t i = 0; i < count; i++)
		napi_set_element(env, array, (uint32_t)i, za_number(env, fds[i]));
	result = za_object(env, 1, (const char *const[]){"length"}, (const int64_t[]){n});
	napi_set_named_property(env, result, "fds", array);
	return result;
}

napi_value za_socket_error(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd, errnum = 0;
	socklen_t length = sizeof errnum;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &length) != 0)
		return za_fail(env, errno, "getsockopt", NULL);
	return errnum ? za_fail(env, errnum, "connect", NULL) : za_undefined(env);
}

napi_value za_vsock_socket(napi_env env, napi_callback_info info)
{
	(void)info;
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? za_fail(env, errno, "socket", NULL) : za_number(env, fd);
}

napi_value za_vsock_connect(napi_env env, napi_callback_info info)
{
	napi_value argv[3], connected;
	int fd;
	struct sockaddr_vm address = {.svm_family = AF_VSOCK};
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !za_uint32(env, argv[1], &address.svm_cid) ||
	    !za_uint32(env, argv[2], &address.svm_port))
		return NULL;
	int result = connect(fd, (struct sockaddr *)&address, sizeof address);
	if (result != 0 && errno != EINPROGRESS)
		return za_fail(env, errno, "connect", NULL);
	return napi_get_boolean(env, result == 0, &connected) == napi_ok ? connected : NULL;
}

napi_value za_vsock_listen(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int fd;
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	socklen_t length = sizeof address;
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &fd) || !za_uint32(env, argv[1], &address.svm_port))
		return NULL;
	if (address.svm_port == 0)
		address.svm_port = VMADDR_PORT_ANY;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
		return za_fail(env, errno, "bind", NULL);
	if (listen(fd, 128) != 0)
		return za_fail(env, errno, "listen", NULL);
	if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
		return za_fail(env, errno, "getsockname", NULL);
	return za_number(env, address.svm_port);
}

napi_value za_vsock_accept(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	struct sockaddr_vm peer = {0};
	socklen_t length = sizeof peer;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	int connection = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (connection < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return za_undefined(env);
	if (connection < 0)
		return za_fail(env, errno, "accept4", NULL);
	return za_object(env, 3, (const char *const[]){"fd", "cid", "port"}, (const int64_t[]){connection, peer.svm_cid, peer.svm_port});
}

napi_value za_vsock_local_cid(napi_env env, napi_callback_info info)
{
	(void)info;
	unsigned int cid = 0;
	int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return za_fail(env, errno, "open", "/dev/vsock");
	int errnum = ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0 ? 0 : errno;
	close(fd);
	return errnum ? za_fail(env, errnum, "ioctl", "/dev/vsock") : za_number(env, cid);
}
