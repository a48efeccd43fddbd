/*
 * control.c - the socket to the agent.
 *
 * PID 1 never waits for the agent and never drops a message, in fixed memory:
 *  - what is to be told about a record is a bit in the record, and the record stands in a queue (outbox) once;
 *  - answers to requests stand in a small ring (answers), and while it is full no request is read;
 *  - a list is a cursor over the table, and while it is not through no request is read.
 */
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWERS = 64, REQUESTS_PER_TURN = 64, NOT_LISTING = ZI_MAX_RECORDS + 1 };

static int socket_fd = -1;
static struct zi_msg answers[ANSWERS];
static size_t answers_first, answers_count;
static struct record *outbox_first, *outbox_last;
static size_t list_cursor = NOT_LISTING; /* next to send; ZI_MAX_RECORDS: ZI_LIST_END */

union control_space {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int) * ZI_MAX_FDS)];
};

int control_open(void)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	if (!watch(pair[0], EPOLLIN, WATCH_CONTROL)) {
		int errnum = errno;
		close(pair[0]);
		close(pair[1]);
		errno = errnum;
		return -1;
	}
	socket_fd = pair[0];
	control_answer(&(struct zi_msg){.type = ZI_HELLO, .arg = ZI_VERSION, .flags = agent_restarts()});
	return pair[1];
}

/* The agent is gone. What it was still to be told of processes the next one learns by ZI_LIST. */
void control_close(void)
{
	if (socket_fd >= 0)
		close(socket_fd);
	socket_fd = -1;
	answers_count = 0;
	outbox_first = outbox_last = NULL;
	list_cursor = NOT_LISTING;
	for (size_t i = 0; i < ZI_MAX_RECORDS; i++) {
		struct record *record = &records[i];
		record->known = false;
		record->tell = 0;
		spawn_result(record); /* if it has come */
		/* A spawn without a result is undone, and a failed one is nobody's business any more. */
		if (record->state == RECORD_STARTING)
			record_signal(record, SIGKILL, false);
		if (record->state == RECORD_STARTING || record->state == RECORD_FAILED)
			record_free(record);
	}
}

void control_answer(const struct zi_msg *message)
{
	if (answers_count < ANSWERS) /* always: requests are read while there is room */
		answers[(answers_first + answers_count++) % ANSWERS] = *message;
}

void control_tell(struct record *record, uint8_t what)
{
	if (!record->known) {
		if (record->state == RECORD_FAILED)
			record_free(record);
		return;
	}
	if (record->tell == 0) {
		record->next = NULL;
		if (outbox_last)
			outbox_last->next = record;
		else
			outbox_first = record;
		outbox_last = record;
	}
	record->tell |= what;
}

/* An agent that cannot be reached is of no use: the next one will be. */
static void lose_agent(void)
{
	control_close();
	agent_kill();
}

static bool send_message(const struct zi_msg *message, const int *fds, size_t nfds)
{
	union control_space control;
	struct iovec body = {.iov_base = (void *)message, .iov_len = sizeof *message};
	struct msghdr header = {.msg_iov = &body, .msg_iovlen = 1};
	if (nfds > 0) {
		memset(&control, 0, sizeof control);
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * nfds);
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	}
	if (sendmsg(socket_fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof *message)
		return true;
	if (errno != EAGAIN && errno != EINTR && errno != EPIPE && errno != ECONNRESET)
		warn("cannot send to the agent: %s", strerror(errno));
	if (errno != EAGAIN && errno != EINTR)
		lose_agent();
	return false;
}

static bool send_answers(void)
{
	for (; answers_count > 0; answers_count--) {
		if (!send_message(&answers[answers_first], NULL, 0))
			return false;
		answers_first = (answers_first + 1) % ANSWERS;
	}
	return true;
}

/* SPAWNED before EXITED: the lowest bit first. */
static bool send_outbox(void)
{
	while (outbox_first) {
		struct record *record = outbox_first;
		struct zi_msg message = {.token = record->token, .pid = record->pid};
		uint8_t bit = record->tell & -record->tell;
		if (bit == TELL_SPAWNED) {
			message.type = ZI_SPAWNED;
		} else if (bit == TELL_FAILED) {
			message.type = ZI_SPAWN_FAILED;
			message.flags = record->stage;
			message.arg = record->errnum;
		} else {
			message.type = ZI_EXITED;
			message.status = record->status;
			message.time_ns = record->time_ns;
		}
		if (!send_message(&message, NULL, 0))
			return false;
		record->tell &= (uint8_t)~bit;
		if (record->tell != 0)
			continue;
		outbox_first = record->next;
		if (!outbox_first)
			outbox_last = NULL;
		if (record->state == RECORD_FAILED)
			record_free(record);
	}
	return true;
}

static bool send_record(struct record *record)
{
	int fds[1 + ZI_MAX_KEPT];
	size_t nfds = 0;
	struct zi_msg message = {.type = ZI_RECORD, .token = record->token, .pid = record->pid};
	if (record->state == RECORD_EXITED) {
		message.flags |= ZI_RECORD_EXITED;
		message.status = record->status;
		message.time_ns = record->time_ns;
	}
	fds[nfds++] = record->spec_fd;
	for (size_t i = 0; i < ZI_MAX_KEPT; i++) {
		if (record->kept[i] < 0)
			continue;
		message.flags |= ZI_RECORD_KEPT(i);
		fds[nfds++] = record->kept[i];
	}
	if (!send_message(&message, fds, nfds))
		return false;
	record->known = true;
	return true;
}

static bool send_list(void)
{
	for (; list_cursor < ZI_MAX_RECORDS; list_cursor++) {
		struct record *record = &records[list_cursor];
		if ((record->state == RECORD_RUNNING || record->state == RECORD_EXITED) && !send_record(record))
			return false;
	}
	if (list_cursor == ZI_MAX_RECORDS && !send_message(&(struct zi_msg){.type = ZI_LIST_END}, NULL, 0))
		return false;
	list_cursor = NOT_LISTING;
	return true;
}

void control_list(void)
{
	list_cursor = 0;
}

static bool may_read(void)
{
	return list_cursor == NOT_LISTING && answers_count < ANSWERS;
}

void control_flush(void)
{
	if (socket_fd < 0)
		return;
	bool sent_all = send_answers() && send_outbox() && send_list();
	if (socket_fd >= 0)
		watch_change(socket_fd, (may_read() ? EPOLLIN : 0) | (sent_all ? 0 : EPOLLOUT), WATCH_CONTROL);
}

/* One request; false when there is none now. */
static bool receive(void)
{
	struct zi_msg request;
	union control_space control;
	int fds[ZI_MAX_FDS];
	size_t nfds = 0;
	struct iovec body = {.iov_base = &request, .iov_len = sizeof request};
	struct msghdr header = {.msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t length = recvmsg(socket_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (length <= 0) { /* 0: it closed the socket */
		lose_agent();
		return false;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); /* at most ZI_MAX_FDS: there is no room for more */
		memcpy(fds, CMSG_DATA(c), sizeof(int) * nfds);
	}
	bool whole = length == sizeof request && !(header.msg_flags & MSG_TRUNC);
	if (whole && !(header.msg_flags & MSG_CTRUNC)) {
		serve(&request, fds, nfds);
		return true;
	}
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	if (whole) /* too many descriptors, or PID 1 has no room for them */
		control_answer(&(struct zi_msg){.type = ZI_ERROR, .token = request.token, .flags = request.type, .arg = EMFILE});
	else
		control_answer(&(struct zi_msg){.type = ZI_ERROR, .arg = EBADMSG});
	return true;
}

void control_ready(void)
{
	for (int i = 0; i < REQUESTS_PER_TURN && socket_fd >= 0 && may_read(); i++)
		if (!receive())
			return;
}
