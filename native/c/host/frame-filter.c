/*
 * frame-filter.c - stands between a zone's VMM and passt(1), and passes on only what a zone may send.
 *
 *   zone-frame-filter    descriptor 3: the VMM's end, descriptor 4: passt's; connected Unix stream sockets that carry Ethernet
 *                        frames, each after its length (32 bits, big endian), as QEMU's "-netdev stream" and passt speak it
 *
 * passt makes a zone's connections its own, in the host's network, to any address that the frame names: older ones also to the
 * host's loopback, where what listens trusts whoever can connect. A kernel in a zone would never send such a frame, but a zone's
 * kernel is not to be trusted. So frames from the zone pass when they are ARP, or IP from one of the zone's addresses to one that
 * is not
 *   - loopback or "this host", which Linux takes for loopback: 127/8, 0/8; ::/64, which holds ::1 and mapped IPv4 addresses
 *   - link-local, where clouds keep a machine's credentials: 169.254/16, fd00:ec2::254; of fe80::/10 ICMPv6 alone passes, to
 *     find the gateway
 *   - multicast, broadcast or reserved: 224/3; ff00::/8 but for ICMPv6
 * All else is dropped without a word. Frames to the zone are not looked at. Ends when either side does, or when the zone's side is
 * not a stream of frames. It can do nothing but read, write, poll and exit (seccomp(2)).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

enum {
	ZONE = 3,
	HOST = 4,
	LENGTH_BYTES = 4,
	ETHERNET = 14,
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	ICMP6 = 58,
	MAX_FRAME = 65535 + ETHERNET,
	BUFFER = 4 * (LENGTH_BYTES + MAX_FRAME),
};

/* The zone's addresses: 10.0.2.15, fd00:7a6f:6e65::/64. host-bridge/src/domains/network.ts has the same. */
static const uint8_t zone4[4] = {10, 0, 2, 15};
static const uint8_t zone6[8] = {0xfd, 0x00, 0x7a, 0x6f, 0x6e, 0x65};
static const uint8_t metadata6[16] = {0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};
static const uint8_t zeros[16];

static bool passes4(const uint8_t *ip, size_t size)
{
	if (size < IP4_HEADER || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return false;
	const uint8_t *from = ip + 12, *to = ip + 16;
	return memcmp(from, zone4, sizeof zone4) == 0 && to[0] != 0 && to[0] != 127 && to[0] < 224 && !(to[0] == 169 && to[1] == 254);
}

static bool is_link_local(const uint8_t *address)
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static bool passes6(const uint8_t *ip, size_t size)
{
	if (size < IP6_HEADER || ip[0] >> 4 != 6)
		return false;
	const uint8_t *from = ip + 8, *to = ip + 24;
	/* The unspecified address is the source while a kernel looks whether its own is taken (RFC 4862, 5.4.2). */
	bool own = memcmp(from, zone6, sizeof zone6) == 0 || is_link_local(from) || memcmp(from, zeros, 16) == 0;
	if (!own || memcmp(to, zeros, 8) == 0 || memcmp(to, metadata6, 16) == 0)
		return false;
	return (to[0] != 0xff && !is_link_local(to)) || ip[6] == ICMP6;
}

static bool passes(const uint8_t *frame, size_t size)
{
	if (size < ETHERNET)
		return false;
	switch (frame[12] << 8 | frame[13]) {
	case 0x0806: /* ARP */
		return true;
	case 0x0800:
		return passes4(frame + ETHERNET, size - ETHERNET);
	case 0x86dd:
		return passes6(frame + ETHERNET, size - ETHERNET);
	default:
		return false;
	}
}

/* One direction. Bytes up to `ready` may go, and have gone up to `sent`; from there to `filled` a frame is incomplete. */
struct way {
	int from, to;
	size_t sent, ready, filled;
	uint8_t bytes[BUFFER];
};

static struct way out = {.from = ZONE, .to = HOST}, in = {.from = HOST, .to = ZONE};

/* Closes the ranks of the frames that pass. */
static void filter(struct way *way)
{
	size_t at = way->ready;
	while (way->filled - at >= LENGTH_BYTES) {
		const uint8_t *start = way->bytes + at;
		size_t size = (size_t)start[0] << 24 | (size_t)start[1] << 16 | (size_t)start[2] << 8 | start[3];
		if (size > MAX_FRAME)
			exit(1);
		if (way->filled - at < LENGTH_BYTES + size)
			break;
		if (passes(start + LENGTH_BYTES, size)) {
			if (way->ready != at)
				memmove(way->bytes + way->ready, start, LENGTH_BYTES + size);
			way->ready += LENGTH_BYTES + size;
		}
		at += LENGTH_BYTES + size;
	}
	if (way->ready != at)
		memmove(way->bytes + way->ready, way->bytes + at, way->filled - at);
	way->filled -= at - way->ready;
}

static bool waits_to_write(const struct way *way)
{
	return way->sent < way->ready;
}

/* Only called when all that was ready has gone, so what is left is less than one frame. */
static void take(struct way *way)
{
	memmove(way->bytes, way->bytes + way->ready, way->filled - way->ready);
	way->filled -= way->ready;
	way->sent = way->ready = 0;
	ssize_t n = read(way->from, way->bytes + way->filled, BUFFER - way->filled);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		exit(0);
	way->filled += (size_t)n;
	if (way == &out)
		filter(way);
	else
		way->ready = way->filled;
}

static void give(struct way *way)
{
	ssize_t n = write(way->to, way->bytes + way->sent, way->ready - way->sent);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		exit(0);
	if (n > 0)
		way->sent += (size_t)n;
}

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static bool confine(void)
{
	struct sock_filter code[] = {
#ifdef __x86_64__
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
#endif
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
#ifdef __NR_poll
		ALLOW(poll),
#endif
		ALLOW(ppoll),
		ALLOW(restart_syscall),
		ALLOW(exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	for (int fd = ZONE; fd <= HOST; fd++)
		if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
			return 2;
	if (!confine())
		return 2;
	for (;;) {
		bool out_waits = waits_to_write(&out), in_waits = waits_to_write(&in);
		struct pollfd fds[] = {
			{.fd = ZONE, .events = (short)((out_waits ? 0 : POLLIN) | (in_waits ? POLLOUT : 0))},
			{.fd = HOST, .events = (short)((in_waits ? 0 : POLLIN) | (out_waits ? POLLOUT : 0))},
		};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return 2;
		if ((fds[0].revents | fds[1].revents) & (POLLERR | POLLHUP))
			return 0;
		if (out_waits)
			give(&out);
		else if (fds[0].revents)
			take(&out);
		if (in_waits)
			give(&in);
		else if (fds[1].revents)
			take(&in);
	}
}
