/* requests.c - what the agent asks for. */
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Each returns 0, or the errno that the agent gets in ZI_ERROR. */

static int serve_kill(const struct zi_msg *request)
{
	struct record *record = record_by_token(request->token);
	if (!record || record->state == RECORD_EXITED || record->state == RECORD_FAILED)
		return ESRCH;
	if (request->arg < 0 || request->arg > SIGRTMAX)
		return EINVAL;
	return record_signal(record, (int)request->arg, request->flags & ZI_KILL_GROUP) == 0 ? 0 : errno;
}

static int serve_drop_kept(const struct zi_msg *request)
{
	struct record *record = record_by_token(request->token);
	if (!record)
		return ESRCH;
	if (request->arg < 0 || request->arg >= ZI_MAX_KEPT)
		return EINVAL;
	return record_drop_kept(record, (size_t)request->arg) ? 0 : EBADF;
}

static int serve_release(const struct zi_msg *request)
{
	struct record *record = record_by_token(request->token);
	if (!record || record->state == RECORD_FAILED)
		return ESRCH;
	/* Not told yet: the release cannot have been meant for this state. */
	if (record->state != RECORD_EXITED || record->tell != 0)
		return EBUSY;
	record_free(record);
	return 0;
}

void serve(const struct zi_msg *request, const int *received, size_t nfds)
{
	int fds[ZI_MAX_FDS];
	memcpy(fds, received, sizeof(int) * nfds);
	int errnum = 0;
	switch (request->type) {
	case ZI_SPAWN:
		errnum = spawn(request, fds, nfds);
		break;
	case ZI_ADOPT:
		errnum = adopt(request, fds, nfds);
		break;
	case ZI_KILL:
		errnum = serve_kill(request);
		break;
	case ZI_DROP_KEPT:
		errnum = serve_drop_kept(request);
		break;
	case ZI_RELEASE:
		errnum = serve_release(request);
		break;
	case ZI_LIST:
		control_list();
		break;
	case ZI_POWER_OFF:
		power_off_begin(request->arg);
		break;
	default:
		errnum = ENOSYS;
	}
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (errnum)
		control_answer(&(struct zi_msg){.type = ZI_ERROR, .token = request->token, .flags = request->type, .arg = errnum});
}
