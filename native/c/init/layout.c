/* layout.c - the offsets that native/src/spawn-spec.ts and init-messages.ts write down. A change here must be made there. */
#include <stddef.h>

#include "zone_init.h"

#define AT(type, member, offset) _Static_assert(offsetof(struct type, member) == (offset), #type "." #member)

AT(zi_spec, magic, 0);
AT(zi_spec, size, 4);
AT(zi_spec, flags, 8);
AT(zi_spec, uid, 12);
AT(zi_spec, gid, 16);
AT(zi_spec, umask, 20);
AT(zi_spec, oom_score_adj, 24);
AT(zi_spec, ngroups, 28);
AT(zi_spec, nrlimits, 32);
AT(zi_spec, argc, 36);
AT(zi_spec, envc, 40);
AT(zi_spec, join, 48);
AT(zi_spec, caps_bounding, 56);
AT(zi_spec, caps_permitted, 64);
AT(zi_spec, caps_effective, 72);
AT(zi_spec, caps_inheritable, 80);
AT(zi_spec, caps_ambient, 88);
AT(zi_spec, groups, 96);
AT(zi_spec, rlimits, 100);
AT(zi_spec, argv, 104);
AT(zi_spec, env, 108);
AT(zi_spec, root, 112);
AT(zi_spec, cwd, 116);
AT(zi_spec, hostname, 120);
AT(zi_spec, meta, 124);
AT(zi_spec, ns_create, 128);
AT(zi_spec, nmasked, 132);
AT(zi_spec, nreadonly, 136);
AT(zi_spec, nfilter, 140);
AT(zi_spec, filter_flags, 144);
AT(zi_spec, masked, 148);
AT(zi_spec, readonly, 152);
AT(zi_spec, filter, 156);
AT(zi_spec, ns_join, 160);
_Static_assert(sizeof(struct zi_spec) == 192, "struct zi_spec");
AT(zi_ns_join, token, 0);
AT(zi_ns_join, which, 8);
_Static_assert(sizeof(struct zi_ns_join) == 16, "struct zi_ns_join");
AT(zi_rlimit, resource, 0);
AT(zi_rlimit, soft, 8);
AT(zi_rlimit, hard, 16);
_Static_assert(sizeof(struct zi_rlimit) == 24, "struct zi_rlimit");
AT(zi_msg, type, 0);
AT(zi_msg, flags, 4);
AT(zi_msg, token, 8);
AT(zi_msg, pid, 16);
AT(zi_msg, status, 20);
AT(zi_msg, arg, 24);
AT(zi_msg, time_ns, 32);
_Static_assert(sizeof(struct zi_msg) == 40, "struct zi_msg");
_Static_assert(ZI_STAGE_ADOPT == 18, "enum zi_stage");
