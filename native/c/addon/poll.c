/*
 * poll.c - readiness of a descriptor, through Node's own event loop.
 *
 * A poller lives until libuv has closed its handle AND JavaScript has dropped the value that names it, in either order: so
 * stopping twice is harmless, and no callback meets freed memory.
 */
#include "addon.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

struct poller {
	uv_poll_t poll;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook; /* closes the handle when the environment (a worker thread) ends first */
	bool closing, closed, dropped;
};

static void free_when_unused(struct poller *poller)
{
	if (poller->closed && poller->dropped)
		free(poller);
}

static void on_closed(uv_handle_t *handle)
{
	struct poller *poller = handle->data;
	napi_remove_async_cleanup_hook(poller->hook);
	poller->closed = true;
	free_when_unused(poller);
}

static void stop(struct poller *poller)
{
	if (poller->closing)
		return;
	poller->closing = true;
	uv_poll_stop(&poller->poll);
	napi_delete_reference(poller->env, poller->callback);
	napi_async_destroy(poller->env, poller->context);
	uv_close((uv_handle_t *)&poller->poll, on_closed);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	(void)hook;
	stop(data);
}

static void on_dropped(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	struct poller *poller = data;
	poller->dropped = true;
	free_when_unused(poller);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	struct poller *poller = handle->data;
	napi_env env = poller->env;
	napi_handle_scope scope;
	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	napi_value global, callback, error, argv[2];
	napi_get_global(env, &global);
	napi_get_reference_value(env, poller->callback, &callback);
	argv[0] = za_undefined(env);
	if (status < 0) {
		za_fail(env, -status, "poll", NULL);
		napi_get_and_clear_last_exception(env, &argv[0]);
	}
	argv[1] = za_number(env, events);
	if (napi_make_callback(env, poller->context, global, callback, 2, argv, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error); /* as an exception in any event callback: 'uncaughtException' */
	napi_close_handle_scope(env, scope);
}

napi_value za_poll_start(napi_env env, napi_callback_info info)
{
	napi_value argv[3], name, external;
	int fd, events;
	uv_loop_t *loop;
	napi_valuetype type;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !za_int(env, argv[1], &events))
		return NULL;
	if (napi_typeof(env, argv[2], &type) != napi_ok || type != napi_function) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a function");
		return NULL;
	}
	if (napi_get_uv_event_loop(env, &loop) != napi_ok)
		return za_fail(env, EINVAL, "napi_get_uv_event_loop", NULL);
	struct poller *poller = calloc(1, sizeof *poller);
	if (!poller)
		return za_fail(env, ENOMEM, "calloc", NULL);
	int status = uv_poll_init(loop, &poller->poll, fd);
	if (status != 0) {
		free(poller);
		return za_fail(env, -status, "uv_poll_init", NULL);
	}
	poller->env = env;
	poller->poll.data = poller;
	napi_create_string_utf8(env, "ZONEPOLL", NAPI_AUTO_LENGTH, &name);
	napi_create_reference(env, argv[2], 1, &poller->callback);
	napi_async_init(env, NULL, name, &poller->context);
	napi_add_async_cleanup_hook(env, on_environment_end, poller, &poller->hook);
	napi_create_external(env, poller, on_dropped, NULL, &external);
	uv_poll_start(&poller->poll, events, on_ready); /* cannot fail on a handle that uv_poll_init accepted */
	return external;
}

static struct poller *poller_of(napi_env env, napi_value value)
{
	void *data = NULL;
	if (napi_get_value_external(env, value, &data) != napi_ok)
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected what pollStart returned");
	return data;
}

napi_value za_poll_update(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct poller *poller;
	int events;
	if (!za_args(env, info, 2, argv) || !(poller = poller_of(env, argv[0])) || !za_int(env, argv[1], &events))
		return NULL;
	if (poller->closing)
		return za_fail(env, EBADF, "uv_poll_start", NULL);
	if (events)
		uv_poll_start(&poller->poll, events, on_ready);
	else
		uv_poll_stop(&poller->poll);
	return za_undefined(env);
}

napi_value za_poll_stop(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct poller *poller;
	if (!za_args(env, info, 1, argv) || !(poller = poller_of(env, argv[0])))
		return NULL;
	stop(poller);
	return za_undefined(env);
}
