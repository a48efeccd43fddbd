/*
 * devices.c - the device controller of cgroup v2, which is a program: generated here, verified by the kernel, attached to a
 * cgroup. bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE; struct bpf_cgroup_dev_ctx in <linux/bpf.h>.
 *
 * Registers: r2 the device's type, r3 the kinds of access that no rule has allowed yet, r4 major, r5 minor. Rules in turn: one
 * that denies a kind still in r3 refuses; one that allows takes its kinds out of r3, and when none is left, grants.
 */
#include "addon.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MAX_RULES = 1000,
	RULE_WORDS = 7, /* devices.ts: allow, type, access, has major, major, has minor, minor */
	HEAD = 6,
	PER_RULE = 13, /* at most: three comparisons of 3, two for the access, two to return */
	TAIL = 2,
	MAX_PROGRAMS = 64, /* of one cgroup and kind, kernel/bpf/cgroup.c BPF_CGROUP_MAX_PROGS */
	ALL_ACCESS = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE,
};

/* The name by which an earlier program of ours is found. */
static const char program_name[] = "zone_devices";

struct rule {
	uint32_t allow, type, access, has_major, major, has_minor, minor;
};
_Static_assert(sizeof(struct rule) == RULE_WORDS * sizeof(uint32_t), "rules are read as words");

struct program {
	struct bpf_insn *code;
	size_t length;
};

static void emit(struct program *program, uint8_t code, uint8_t dst, uint8_t src, int16_t offset, int32_t immediate)
{
	program->code[program->length++] = (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .off = offset, .imm = immediate};
}

static void emit_return(struct program *program, bool allow)
{
	emit(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow);
	emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/*
 * Jumps, to a place that is filled in later, when a register has another value. The comparison is made in r0, so that the
 * verifier learns nothing of the register itself: it would follow the rules after this one once more for each value, and
 * 1000 rules are then more than it has patience for.
 */
static size_t emit_unequal(struct program *program, uint8_t reg, uint32_t value)
{
	emit(program, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_0, reg, 0, 0);
	emit(program, BPF_ALU | BPF_XOR | BPF_K, BPF_REG_0, 0, 0, (int32_t)value);
	emit(program, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, 0);
	return program->length - 1;
}

/* False when the rule decides about every device and access, so that no code after it could be reached: the verifier refuses such. */
static bool emit_rule(struct program *program, const struct rule *rule)
{
	size_t skips[4], n = 0;
	if (rule->type)
		skips[n++] = emit_unequal(program, BPF_REG_2, rule->type == 1 ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (rule->has_major)
		skips[n++] = emit_unequal(program, BPF_REG_4, rule->major);
	if (rule->has_minor)
		skips[n++] = emit_unequal(program, BPF_REG_5, rule->minor);
	/* An open for neither reading nor writing asks for nothing (access 0): only a rule about everything denies it. */
	bool everything = rule->access == ALL_ACCESS;
	if (rule->allow) {
		emit(program, BPF_ALU | BPF_AND | BPF_K, BPF_REG_3, 0, 0, (int32_t)(~rule->access & ALL_ACCESS));
		skips[n++] = program->length;
		emit(program, BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_3, 0, 0, 0);
	} else if (!everything) {
		emit(program, BPF_JMP32 | BPF_JSET | BPF_K, BPF_REG_3, 0, 1, (int32_t)rule->access);
		skips[n++] = program->length;
		emit(program, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	}
	emit_return(program, rule->allow);
	for (size_t i = 0; i < n; i++)
		program->code[skips[i]].off = (int16_t)(program->length - skips[i] - 1);
	return n > 0;
}

static void emit_program(struct program *program, const struct rule *rules, size_t count, bool default_allow)
{
	/* The context's first word is access << 16 | type. */
	emit(program, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, access_type), 0);
	emit(program, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_3, 0, 0);
	emit(program, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	emit(program, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	emit(program, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
	emit(program, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
	for (size_t i = 0; i < count; i++) {
		if (!emit_rule(program, &rules[i]))
			return;
	}
	emit_return(program, default_allow);
}

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int load(const struct program *program)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)program->code,
		.insn_cnt = (uint32_t)program->length,
		.license = (uintptr_t) "Apache-2.0",
	};
	memcpy(attr.prog_name, program_name, sizeof program_name);
	return bpf(BPF_PROG_LOAD, &attr);
}

/* Whether a program, by its descriptor, is one of ours; -1 with errno when the kernel does not say. */
static int is_ours(int program)
{
	struct bpf_prog_info facts = {0};
	union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)program, .info_len = sizeof facts, .info = (uintptr_t)&facts}};
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) != 0)
		return -1;
	return strncmp(facts.name, program_name, sizeof facts.name) == 0;
}

static int detach(int cgroup, int program)
{
	union bpf_attr attr = {.target_fd = (uint32_t)cgroup, .attach_bpf_fd = (uint32_t)program, .attach_type = BPF_CGROUP_DEVICE};
	return bpf(BPF_PROG_DETACH, &attr);
}

/* Detaches our programs except `keep` (an id; 0: none). 0 or an errno. */
static int detach_ours(int cgroup, uint32_t keep)
{
	uint32_t ids[MAX_PROGRAMS] = {0};
	union bpf_attr attr = {.query = {
				       .target_fd = (uint32_t)cgroup,
				       .attach_type = BPF_CGROUP_DEVICE,
				       .prog_ids = (uintptr_t)ids,
				       .prog_cnt = MAX_PROGRAMS,
			       }};
	if (bpf(BPF_PROG_QUERY, &attr) != 0)
		return errno;
	int errnum = 0;
	for (uint32_t i = 0; i < attr.query.prog_cnt && i < MAX_PROGRAMS && !errnum; i++) {
		if (ids[i] == keep)
			continue;
		union bpf_attr by_id = {.prog_id = ids[i]};
		int program = bpf(BPF_PROG_GET_FD_BY_ID, &by_id);
		if (program < 0) {
			errnum = errno == ENOENT ? 0 : errno; /* it went meanwhile */
			continue;
		}
		int ours = is_ours(program);
		if (ours < 0 || (ours && detach(cgroup, program) != 0))
			errnum = errno;
		close(program);
	}
	return errnum;
}

static int id_of(int program, uint32_t *id)
{
	struct bpf_prog_info facts = {0};
	union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)program, .info_len = sizeof facts, .info = (uintptr_t)&facts}};
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) != 0)
		return errno;
	*id = facts.id;
	return 0;
}

/* The new one first, then the old one off: both must allow in between, so nothing is allowed that neither would. */
static int replace(int cgroup, int program)
{
	uint32_t id = 0;
	int errnum = id_of(program, &id);
	if (errnum)
		return errnum;
	union bpf_attr attr = {
		.target_fd = (uint32_t)cgroup,
		.attach_bpf_fd = (uint32_t)program,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	if (bpf(BPF_PROG_ATTACH, &attr) != 0)
		return errno;
	errnum = detach_ours(cgroup, id);
	if (errnum)
		detach(cgroup, program); /* as it was before; the error that is told is the first */
	return errnum;
}

napi_value za_attach_device_policy(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int cgroup;
	void *words;
	size_t length;
	bool default_allow;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &cgroup) || !za_words(env, argv[1], napi_uint32_array, &words, &length) ||
	    !za_bool(env, argv[2], &default_allow))
		return NULL;
	size_t count = length / RULE_WORDS;
	if (count > MAX_RULES)
		return za_fail(env, E2BIG, "bpf", NULL);
	struct program program = {.code = calloc(HEAD + count * PER_RULE + TAIL, sizeof *program.code)};
	if (!program.code)
		return za_fail(env, ENOMEM, "calloc", NULL);
	emit_program(&program, words, count, default_allow);
	int fd = load(&program);
	int errnum = fd < 0 ? errno : replace(cgroup, fd);
	free(program.code);
	if (fd >= 0)
		close(fd);
	return errnum ? za_fail(env, errnum, "bpf", NULL) : za_undefined(env);
}

napi_value za_detach_device_policy(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int cgroup;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &cgroup))
		return NULL;
	int errnum = detach_ours(cgroup, 0);
	return errnum ? za_fail(env, errnum, "bpf", NULL) : za_undefined(env);
}
