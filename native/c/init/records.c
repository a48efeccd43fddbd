/* records.c - the table of processes. Fixed, so that PID 1 never allocates; searched from the start, which 4096 entries bear. */
#include "init.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

struct record records[ZI_MAX_RECORDS];

struct record *record_by_token(uint64_t token)
{
	for (size_t i = 0; i < ZI_MAX_RECORDS; i++)
		if (records[i].state != RECORD_FREE && records[i].token == token)
			return &records[i];
	return NULL;
}

static bool is_live(const struct record *record)
{
	return record->state == RECORD_STARTING || record->state == RECORD_RUNNING;
}

struct record *record_by_pid(pid_t pid)
{
	for (size_t i = 0; i < ZI_MAX_RECORDS; i++)
		if (is_live(&records[i]) && records[i].pid == pid)
			return &records[i];
	return NULL;
}

struct record *record_new(uint64_t token)
{
	for (size_t i = 0; i < ZI_MAX_RECORDS; i++) {
		struct record *record = &records[i];
		if (record->state != RECORD_FREE)
			continue;
		memset(record, 0, sizeof *record);
		record->state = RECORD_STARTING;
		record->token = token;
		record->spec_fd = -1;
		record->result_fd = -1;
		record->status_fd = -1;
		for (size_t k = 0; k < ZI_MAX_KEPT; k++)
			record->kept[k] = -1;
		return record;
	}
	return NULL;
}

void record_free(struct record *record)
{
	if (record->spec_fd >= 0)
		close(record->spec_fd);
	if (record->result_fd >= 0)
		close(record->result_fd);
	if (record->status_fd >= 0)
		close(record->status_fd);
	for (size_t i = 0; i < ZI_MAX_KEPT; i++)
		record_drop_kept(record, i);
	record->state = RECORD_FREE;
}

bool record_drop_kept(struct record *record, size_t index)
{
	if (record->kept[index] < 0)
		return false;
	close(record->kept[index]);
	record->kept[index] = -1;
	return true;
}

size_t records_live(void)
{
	size_t live = 0;
	for (size_t i = 0; i < ZI_MAX_RECORDS; i++)
		live += is_live(&records[i]);
	return live;
}

int record_signal(const struct record *record, int signal, bool group)
{
	/* A reaper gets SIGKILL itself; all else is for its child. When too many are queued already: as an ordinary signal. */
	bool through_reaper = record->status_fd >= 0 && record->state == RECORD_RUNNING && signal != 0 && signal != SIGKILL;
	if (through_reaper && reaper_signal(record->pid, signal, group) == 0)
		return 0;
	/* Before exec it may not lead a group yet, and has no children. */
	return kill(group && record->state == RECORD_RUNNING ? -record->pid : record->pid, signal);
}
