/* privileges.c - groups, gid, uid, capabilities(7) and seccomp(2). */
#include "init.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_CAPS = 64 };

static bool has(uint64_t set, int cap)
{
	return set >> cap & 1;
}

/*
 * The bounding set, which no other set shall exceed: what the spec allows, less what this kernel does not know and PID 1 itself
 * cannot give (outside a VM it may have been started with less than all).
 */
static uint64_t bounding_set(void)
{
	uint64_t set = 0;
	for (int cap = 0; cap < MOST_CAPS; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			set |= UINT64_C(1) << cap;
	return set;
}

bool caps_limit_bounding(uint64_t bounding)
{
	for (int cap = 0; cap < MOST_CAPS; cap++) {
		int in = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (in < 0)
			return true; /* the last one known was the one before */
		if (in > 0 && !has(bounding, cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return false;
	}
	return true;
}

/* The permitted set stays for caps_become to reduce (PR_SET_KEEPCAPS, which exec clears). */
bool user_become(const struct spec *spec)
{
	const struct zi_spec *head = spec->head;
	return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && setgroups(head->ngroups, spec->groups) == 0 &&
	       setresgid(head->gid, head->gid, head->gid) == 0 && setresuid(head->uid, head->uid, head->uid) == 0;
}

bool caps_become(const struct spec *spec)
{
	const struct zi_spec *head = spec->head;
	uint64_t bounding = bounding_set();
	/* A user other than root loses what it would have lost without KEEPCAPS, unless it is to keep it. */
	bool keep = head->uid == 0 || (head->flags & ZI_KEEP_CAPS);
	uint64_t permitted = keep ? head->caps_permitted & bounding : 0;
	uint64_t effective = keep ? head->caps_effective & bounding : 0;
	uint64_t inheritable = head->caps_inheritable & bounding;
	uint64_t ambient = keep ? head->caps_ambient & bounding : 0;

	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {
		{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
		{(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
	};
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || syscall(SYS_capset, &header, sets) != 0)
		return false;
	for (int cap = 0; cap < MOST_CAPS; cap++)
		if (has(ambient, cap) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0)
			return false;
	return true;
}

/* setresuid(2) has emptied the effective set; the permitted one is still whole (user_become). */
static bool raise_effective(int cap)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	if (syscall(SYS_capget, &header, sets) != 0)
		return false;
	sets[cap / 32].effective |= UINT32_C(1) << cap % 32;
	return syscall(SYS_capset, &header, sets) == 0;
}

/* seccomp(2) wants no_new_privs, or CAP_SYS_ADMIN, which the process shall not keep: so without the former before caps_become. */
bool filter_install(const struct spec *spec)
{
	const struct zi_spec *head = spec->head;
	struct sock_fprog program = {.len = (unsigned short)head->nfilter, .filter = (struct sock_filter *)spec->filter};
	if (!(head->flags & ZI_NO_NEW_PRIVS) && !raise_effective(CAP_SYS_ADMIN))
		return false;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, head->filter_flags, &program) == 0;
}
