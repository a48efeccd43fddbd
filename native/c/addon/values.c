/* values.c - errors, arguments and results. */
#include "addon.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static void set_string(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_value value;
	if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok)
		napi_set_named_property(env, object, name, value);
}

napi_value za_fail(napi_env env, int errnum, const char *syscall, const char *path)
{
	/* As Node words its own: "ENOENT: No such file or directory, mount '/x'". */
	char text[PATH_MAX + 256];
	const char *code = strerrorname_np(errnum); /* libuv's table lacks some: ENOEXEC, EBADMSG... */
	if (!code)
		code = "EUNKNOWN";
	snprintf(text, sizeof text, path ? "%s: %s, %s '%s'" : "%s: %s, %s", code, strerror(errnum), syscall, path);

	napi_value message, code_value, error;
	if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok ||
	    napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value) != napi_ok ||
	    napi_create_error(env, code_value, message, &error) != napi_ok)
		return NULL;
	napi_set_named_property(env, error, "errno", za_number(env, -errnum));
	set_string(env, error, "syscall", syscall);
	if (path)
		set_string(env, error, "path", path);
	napi_throw(env, error);
	return NULL;
}

bool za_args(napi_env env, napi_callback_info info, size_t n, napi_value *argv)
{
	size_t count = n;
	if (napi_get_cb_info(env, info, &count, argv, NULL, NULL) == napi_ok && count >= n)
		return true;
	napi_throw_type_error(env, "ERR_MISSING_ARGS", "too few arguments");
	return false;
}

bool za_int64(napi_env env, napi_value value, int64_t *out)
{
	double number;
	if (napi_get_value_double(env, value, &number) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a number");
		return false;
	}
	/* The negated test also refuses NaN. */
	if (!(number >= -9007199254740991.0 && number <= 9007199254740991.0) || number != (double)(int64_t)number) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "expected a whole number");
		return false;
	}
	*out = (int64_t)number;
	return true;
}

static bool between(napi_env env, napi_value value, int64_t low, int64_t high, int64_t *out)
{
	if (!za_int64(env, value, out))
		return false;
	if (*out >= low && *out <= high)
		return true;
	napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "the number is out of range");
	return false;
}

bool za_int(napi_env env, napi_value value, int *out)
{
	int64_t wide;
	if (!between(env, value, INT_MIN, INT_MAX, &wide))
		return false;
	*out = (int)wide;
	return true;
}

bool za_uint32(napi_env env, napi_value value, uint32_t *out)
{
	int64_t wide;
	if (!between(env, value, 0, UINT32_MAX, &wide))
		return false;
	*out = (uint32_t)wide;
	return true;
}

bool za_string(napi_env env, napi_value value, char *out, size_t size)
{
	size_t length, copied;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a string");
		return false;
	}
	if (length >= size) {
		za_fail(env, ENAMETOOLONG, "argument", NULL);
		return false;
	}
	if (napi_get_value_string_utf8(env, value, out, size, &copied) != napi_ok || memchr(out, 0, copied) != NULL) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "the string holds a NUL byte");
		return false;
	}
	return true;
}

bool za_name(napi_env env, napi_value value, char *out, size_t size)
{
	bool is_bytes = false;
	uint8_t *data;
	size_t length;
	if (napi_is_typedarray(env, value, &is_bytes) != napi_ok || !is_bytes)
		return za_string(env, value, out, size);
	if (!za_bytes(env, value, &data, &length))
		return false;
	if (length >= size) {
		za_fail(env, ENAMETOOLONG, "argument", NULL);
		return false;
	}
	if (length > 0) {
		if (memchr(data, 0, length) != NULL) {
			napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "the name holds a NUL byte");
			return false;
		}
		memcpy(out, data, length);
	}
	out[length] = 0;
	return true;
}

bool za_bool(napi_env env, napi_value value, bool *out)
{
	if (napi_get_value_bool(env, value, out) == napi_ok)
		return true;
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a boolean");
	return false;
}

static bool whole_bigint(napi_env env, napi_status status, bool lossless)
{
	if (status != napi_ok)
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected a bigint");
	else if (!lossless)
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "the bigint does not fit into 64 bits");
	return status == napi_ok && lossless;
}

bool za_bigint64(napi_env env, napi_value value, int64_t *out)
{
	bool lossless = false;
	napi_status status = napi_get_value_bigint_int64(env, value, out, &lossless);
	return whole_bigint(env, status, lossless);
}

bool za_biguint64(napi_env env, napi_value value, uint64_t *out)
{
	bool lossless = false;
	napi_status status = napi_get_value_bigint_uint64(env, value, out, &lossless);
	return whole_bigint(env, status, lossless);
}

bool za_words(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length)
{
	bool is_array = false;
	napi_typedarray_type type = napi_int8_array;
	if (napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
	    napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok && type == wanted)
		return true;
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", wanted == napi_uint8_array ? "expected a Uint8Array" : "expected a typed array of another kind");
	return false;
}

bool za_bytes(napi_env env, napi_value value, uint8_t **data, size_t *length)
{
	void *pointer = NULL;
	if (!za_words(env, value, napi_uint8_array, &pointer, length))
		return false;
	*data = pointer;
	return true;
}

napi_value za_number(napi_env env, int64_t number)
{
	napi_value value = NULL;
	napi_create_int64(env, number, &value);
	return value;
}

napi_value za_undefined(napi_env env)
{
	napi_value value = NULL;
	napi_get_undefined(env, &value);
	return value;
}

napi_value za_object(napi_env env, size_t n, const char *const *names, const int64_t *values)
{
	napi_value object;
	if (napi_create_object(env, &object) != napi_ok)
		return NULL;
	for (size_t i = 0; i < n; i++)
		napi_set_named_property(env, object, names[i], za_number(env, values[i]));
	return object;
}
