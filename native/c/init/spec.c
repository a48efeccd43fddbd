/* spec.c - checks a spec before anything of it is used. Offsets and counts are the agent's word; nothing here trusts them. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	KNOWN_FLAGS = ZI_NEW_CONTAINER | ZI_JOIN | ZI_TTY | ZI_NO_NEW_PRIVS | ZI_READONLY_ROOT | ZI_KEEP_CAPS | ZI_REAPER |
	              ZI_PRIVILEGED | ZI_MASKED_PATHS | ZI_READONLY_PATHS,
	ROOT_FLAGS = ZI_READONLY_ROOT | ZI_PRIVILEGED | ZI_MASKED_PATHS | ZI_READONLY_PATHS, /* with ZI_NEW_CONTAINER */
	FILTER_FLAGS = SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	SEALS = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK,
	MOST_GROUPS = 65536, /* NGROUPS_MAX */
	MOST_RLIMITS = 64,
};

/*
 * PID 1 makes or joins each namespace at most once, and prepares a root nowhere but in a new mount namespace: in PID 1's own it
 * would take the zone's root away.
 */
static bool namespaces_are_valid(const struct zi_spec *head)
{
	uint32_t seen = head->ns_create;
	for (size_t i = 0; i < ZI_MAX_NS_JOINS; i++) {
		if (seen & head->ns_join[i].which)
			return false;
		seen |= head->ns_join[i].which;
	}
	if (seen & ~ZI_NS_ALL)
		return false;
	if ((head->flags & ZI_JOIN) && (seen != 0 || (head->flags & ZI_NEW_CONTAINER)))
		return false;
	return !(head->flags & ZI_NEW_CONTAINER) || (head->ns_create & ZI_NS_MOUNT);
}

int spec_peek(int fd, struct zi_spec *head)
{
	if (pread(fd, head, sizeof *head, 0) != sizeof *head || head->magic != ZI_SPEC_MAGIC)
		return EINVAL;
	return namespaces_are_valid(head) ? 0 : EINVAL;
}

/* `count` elements of `size` bytes inside the file, aligned so that they can be used in place. */
static const void *array_at(const char *base, uint64_t total, uint32_t offset, uint64_t count, uint64_t size, uint64_t align)
{
	if (offset % align != 0 || offset > total || count > (total - offset) / size)
		return NULL;
	return base + offset;
}

/* The file ends in NUL, so a string that begins inside it ends inside it. */
static const char *string_at(const char *base, uint64_t total, uint32_t offset)
{
	return offset < total ? base + offset : NULL;
}

/* `count` strings one after another, into out[], which has room for them and NULL. */
static bool strings_at(char *base, uint64_t total, uint32_t offset, uint32_t count, char **out)
{
	uint64_t at = offset;
	for (uint32_t i = 0; i < count; i++) {
		if (at >= total)
			return false;
		out[i] = base + at;
		at += strlen(base + at) + 1;
	}
	out[count] = NULL;
	return true;
}

/* (uid_t)-1 means "leave it" to setresuid(2): root would stay root. */
static bool ids_are_valid(const struct spec *spec)
{
	if (spec->head->uid == UINT32_MAX || spec->head->gid == UINT32_MAX)
		return false;
	for (uint32_t i = 0; i < spec->head->ngroups; i++)
		if (spec->groups[i] == UINT32_MAX)
			return false;
	return true;
}

static bool are_absolute(char *const *paths)
{
	for (; *paths; paths++)
		if ((*paths)[0] != '/')
			return false;
	return true;
}

static bool names_are_valid(const struct spec *spec)
{
	const struct zi_spec *head = spec->head;
	bool container = head->flags & ZI_NEW_CONTAINER;
	if (!container && (spec->root[0] || (head->flags & ROOT_FLAGS)))
		return false;
	if (spec->hostname[0] && !(head->ns_create & ZI_NS_UTS))
		return false;
	if ((head->nmasked && !(head->flags & ZI_MASKED_PATHS)) || (head->nreadonly && !(head->flags & ZI_READONLY_PATHS)))
		return false;
	return (!container || spec->root[0] == '/') && spec->cwd[0] == '/' && are_absolute(spec->masked) && are_absolute(spec->readonly);
}

/* A string takes a byte at least, which bounds the counts before memory is asked for. */
static bool counts_are_valid(const struct zi_spec *head, uint64_t total)
{
	return head->argc > 0 && head->argc <= total && head->envc <= total && head->ngroups <= MOST_GROUPS &&
	       head->nrlimits <= MOST_RLIMITS && head->nmasked <= ZI_MAX_PATHS && head->nreadonly <= ZI_MAX_PATHS &&
	       head->nfilter <= ZI_MAX_FILTER && !(head->filter_flags & ~(uint32_t)FILTER_FLAGS) &&
	       (head->nfilter > 0 || head->filter_flags == 0);
}

/* argv, env and the lists of paths, as arrays of pointers that end in NULL. */
static int map_strings(char *base, uint64_t total, struct spec *out)
{
	const struct zi_spec *head = out->head;
	size_t pointers = (size_t)head->argc + head->envc + head->nmasked + head->nreadonly + 4;
	char **table = mmap(NULL, pointers * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return errno;
	out->argv = table;
	out->env = out->argv + head->argc + 1;
	out->masked = out->env + head->envc + 1;
	out->readonly = out->masked + head->nmasked + 1;
	bool ok = strings_at(base, total, head->argv, head->argc, out->argv) && strings_at(base, total, head->env, head->envc, out->env) &&
	          strings_at(base, total, head->masked, head->nmasked, out->masked) &&
	          strings_at(base, total, head->readonly, head->nreadonly, out->readonly);
	return ok ? 0 : EINVAL;
}

int spec_map(int fd, struct spec *out)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	/* Sealed: what is checked here is what is used later, and no access beyond a shrunk end kills the child. */
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) != 0)
		return EINVAL;
	if (st.st_size <= (off_t)sizeof(struct zi_spec) || st.st_size > (off_t)ZI_MAX_SPEC)
		return EINVAL;
	uint64_t total = (uint64_t)st.st_size;
	char *base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0); /* argv is char *[], not const */
	if (base == MAP_FAILED)
		return errno;
	const struct zi_spec *head = (const struct zi_spec *)base;
	if (head->magic != ZI_SPEC_MAGIC || head->size != total || base[total - 1] != 0 || (head->flags & ~(uint32_t)KNOWN_FLAGS))
		return EINVAL;
	if (!counts_are_valid(head, total) || !namespaces_are_valid(head))
		return EINVAL;

	out->head = head;
	out->groups = array_at(base, total, head->groups, head->ngroups, sizeof(uint32_t), _Alignof(uint32_t));
	out->rlimits = array_at(base, total, head->rlimits, head->nrlimits, sizeof(struct zi_rlimit), _Alignof(struct zi_rlimit));
	out->filter = array_at(base, total, head->filter, head->nfilter, sizeof(struct sock_filter), _Alignof(struct sock_filter));
	out->root = string_at(base, total, head->root);
	out->cwd = string_at(base, total, head->cwd);
	out->hostname = string_at(base, total, head->hostname);
	if (!out->groups || !out->rlimits || !out->filter || !out->root || !out->cwd || !out->hostname)
		return EINVAL;
	int errnum = map_strings(base, total, out);
	if (errnum)
		return errnum;
	return ids_are_valid(out) && names_are_valid(out) ? 0 : EINVAL;
}
