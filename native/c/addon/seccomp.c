/*
 * seccomp.c - filters, built by libseccomp. It is loaded when first wanted, so that the addon also works where it is not
 * installed (the host), and its few prototypes are here, so that its headers need not be: <seccomp.h> of libseccomp 2.5.
 */
#include "addon.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void *scmp_filter_ctx;
struct scmp_arg_cmp {
	unsigned int arg;
	int op; /* enum scmp_compare */
	uint64_t datum_a;
	uint64_t datum_b;
};
enum { SCMP_FLTATR_CTL_OPTIMIZE = 8, BINARY_TREE = 2 };
enum { SCMP_ERROR = -1, MAX_CONDITIONS = 6, CONDITION_WORDS = 4 };

static struct {
	scmp_filter_ctx (*init)(uint32_t default_action);
	void (*release)(scmp_filter_ctx);
	uint32_t (*arch_resolve_name)(const char *name);
	int (*arch_add)(scmp_filter_ctx, uint32_t arch);
	int (*syscall_resolve_name)(const char *name);
	int (*rule_add_array)(scmp_filter_ctx, uint32_t action, int syscall, unsigned int count, const struct scmp_arg_cmp *conditions);
	int (*export_bpf)(const scmp_filter_ctx, int fd);
	int (*attr_set)(scmp_filter_ctx, int attribute, uint32_t value);
} library;

static bool find_library(void)
{
	static bool found;
	if (found)
		return true;
	void *handle = dlopen("libseccomp.so.2", RTLD_NOW | RTLD_LOCAL); /* never closed: Node's threads share it */
	if (!handle)
		return false;
	/* ISO C has no cast from void * to a function's pointer; POSIX has this one. */
	*(void **)&library.init = dlsym(handle, "seccomp_init");
	*(void **)&library.release = dlsym(handle, "seccomp_release");
	*(void **)&library.arch_resolve_name = dlsym(handle, "seccomp_arch_resolve_name");
	*(void **)&library.arch_add = dlsym(handle, "seccomp_arch_add");
	*(void **)&library.syscall_resolve_name = dlsym(handle, "seccomp_syscall_resolve_name");
	*(void **)&library.rule_add_array = dlsym(handle, "seccomp_rule_add_array");
	*(void **)&library.export_bpf = dlsym(handle, "seccomp_export_bpf");
	*(void **)&library.attr_set = dlsym(handle, "seccomp_attr_set");
	found = library.init && library.release && library.arch_resolve_name && library.arch_add && library.syscall_resolve_name &&
		library.rule_add_array && library.export_bpf && library.attr_set;
	return found;
}

/* What JavaScript holds; the filter is NULL once it is closed. */
struct filter {
	scmp_filter_ctx context;
};

static void close_filter(struct filter *filter)
{
	if (filter->context)
		library.release(filter->context);
	filter->context = NULL;
}

static void on_dropped(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	close_filter(data);
	free(data);
}

static struct filter *filter_of(napi_env env, napi_value value)
{
	void *data = NULL;
	if (napi_get_value_external(env, value, &data) != napi_ok || !data)
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected what seccompOpen returned");
	return data;
}

static scmp_filter_ctx context_of(napi_env env, napi_value value)
{
	struct filter *filter = filter_of(env, value);
	if (filter && !filter->context)
		za_fail(env, EBADF, "libseccomp", NULL);
	return filter ? filter->context : NULL;
}

napi_value za_seccomp_open(napi_env env, napi_callback_info info)
{
	napi_value argv[1], external;
	uint32_t action;
	if (!za_args(env, info, 1, argv) || !za_uint32(env, argv[0], &action))
		return NULL;
	if (!find_library())
		return za_fail(env, ENOSYS, "dlopen", "libseccomp.so.2");
	struct filter *filter = calloc(1, sizeof *filter);
	if (!filter)
		return za_fail(env, ENOMEM, "calloc", NULL);
	filter->context = library.init(action);
	if (!filter->context) { /* it says no more than that */
		free(filter);
		return za_fail(env, EINVAL, "seccomp_init", NULL);
	}
	/*
	 * A tree instead of a list. When a filter is installed the kernel runs it for every system call there is, to know which are
	 * always allowed: a third of the time of a list of 300. A library before 2.5 does not know it, and makes the list.
	 */
	(void)library.attr_set(filter->context, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE);
	if (napi_create_external(env, filter, on_dropped, NULL, &external) == napi_ok)
		return external;
	on_dropped(env, filter, NULL);
	return NULL;
}

napi_value za_seccomp_architecture(napi_env env, napi_callback_info info)
{
	napi_value argv[2], known;
	char name[32];
	scmp_filter_ctx context;
	if (!za_args(env, info, 2, argv) || !(context = context_of(env, argv[0])) || !za_string(env, argv[1], name, sizeof name))
		return NULL;
	uint32_t arch = library.arch_resolve_name(name);
	if (arch != 0) {
		int result = library.arch_add(context, arch);
		if (result != 0 && result != -EEXIST)
			return za_fail(env, -result, "seccomp_arch_add", name);
	}
	return napi_get_boolean(env, arch != 0, &known) == napi_ok ? known : NULL;
}

napi_value za_seccomp_rule(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	uint32_t action;
	char name[64];
	void *data;
	size_t length;
	scmp_filter_ctx context;
	if (!za_args(env, info, 4, argv) || !(context = context_of(env, argv[0])) || !za_uint32(env, argv[1], &action) ||
	    !za_string(env, argv[2], name, sizeof name) || !za_words(env, argv[3], napi_biguint64_array, &data, &length))
		return NULL;
	if (length % CONDITION_WORDS != 0 || length > MAX_CONDITIONS * CONDITION_WORDS)
		return za_fail(env, EINVAL, "seccomp_rule_add_array", name);
	int number = library.syscall_resolve_name(name);
	if (number == SCMP_ERROR)
		return za_undefined(env);
	struct scmp_arg_cmp conditions[MAX_CONDITIONS];
	const uint64_t *words = data;
	unsigned int count = (unsigned int)(length / CONDITION_WORDS);
	for (unsigned int i = 0; i < count; i++, words += CONDITION_WORDS) {
		conditions[i] = (struct scmp_arg_cmp){
			.arg = (unsigned int)words[0], .op = (int)words[1], .datum_a = words[2], .datum_b = words[3]};
	}
	int result = library.rule_add_array(context, action, number, count, conditions);
	return result == 0 ? za_undefined(env) : za_fail(env, -result, "seccomp_rule_add_array", name);
}

napi_value za_seccomp_export(napi_env env, napi_callback_info info)
{
	enum { MOST = BPF_MAXINSNS * sizeof(struct sock_filter) };
	static const char name[] = "zone-seccomp";
	napi_value argv[1], buffer = NULL;
	scmp_filter_ctx context;
	void *bytes;
	if (!za_args(env, info, 1, argv) || !(context = context_of(env, argv[0])))
		return NULL;
	int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return za_fail(env, errno, "memfd_create", NULL);
	int result = library.export_bpf(context, fd);
	off_t size = result == 0 ? lseek(fd, 0, SEEK_END) : 0;
	int errnum = result != 0 ? -result : size < 0 ? errno : size > MOST ? E2BIG : 0;
	if (!errnum && napi_create_buffer(env, (size_t)size, &bytes, &buffer) == napi_ok && pread(fd, bytes, (size_t)size, 0) != size)
		errnum = EIO;
	close(fd);
	return errnum ? za_fail(env, errnum, "seccomp_export_bpf", NULL) : buffer;
}

napi_value za_seccomp_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct filter *filter;
	if (!za_args(env, info, 1, argv) || !(filter = filter_of(env, argv[0])))
		return NULL;
	close_filter(filter);
	return za_undefined(env);
}
