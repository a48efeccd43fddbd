/* netlink.c - datagrams to and from the kernel. */
#include "addon.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

/* Room for bursts of events: SO_RCVBUFFORCE as root, net.core.rmem_max at most otherwise. */
enum { RECEIVE_BUFFER = 1 << 20 };

static int configure(int fd, uint32_t protocol, uint32_t groups)
{
	static const int on = 1, size = RECEIVE_BUFFER;
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0)
		return -1;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) != 0)
		return -1;
	if (protocol == NETLINK_ROUTE && setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on) != 0)
		return -1;
	return bind(fd, (struct sockaddr *)&address, sizeof address);
}

napi_value za_netlink_open(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	uint32_t protocol, groups;
	if (!za_args(env, info, 2, argv) || !za_uint32(env, argv[0], &protocol) || !za_uint32(env, argv[1], &groups))
		return NULL;
	if (protocol >= MAX_LINKS)
		return za_fail(env, EPROTONOSUPPORT, "socket", NULL);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, (int)protocol);
	if (fd < 0)
		return za_fail(env, errno, "socket", NULL);
	if (configure(fd, protocol, groups) == 0)
		return za_number(env, fd);
	int errnum = errno;
	close(fd);
	return za_fail(env, errnum, "bind", NULL);
}

napi_value za_netlink_send(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int fd;
	uint8_t *data;
	size_t length;
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &fd) || !za_bytes(env, argv[1], &data, &length))
		return NULL;
	ssize_t n;
	do {
		n = sendto(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&kernel, sizeof kernel);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? za_fail(env, errno, "sendto", NULL) : za_undefined(env);
}

napi_value za_netlink_receive(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int fd;
	uint8_t *data;
	size_t size;
	if (!za_args(env, info, 2, argv) || !za_int(env, argv[0], &fd) || !za_bytes(env, argv[1], &data, &size))
		return NULL;
	struct sockaddr_nl sender = {0};
	struct iovec body = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &body, .msg_iovlen = 1};
	ssize_t n;
	do {
		n = recvmsg(fd, &message, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? za_undefined(env) : za_fail(env, errno, "recvmsg", NULL);
	/* Any process may send to a netlink socket that it can name; only the kernel is port 0. */
	if (message.msg_namelen < sizeof sender || sender.nl_pid != 0)
		return za_number(env, 0);
	return message.msg_flags & MSG_TRUNC ? za_fail(env, EMSGSIZE, "recvmsg", NULL) : za_number(env, n);
}
