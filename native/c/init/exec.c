/* exec.c - finds the program as execvp(3) does, but along the PATH that the program will see, and with no shell for ENOEXEC. */
#include "init.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static const char *path_of(char *const *env)
{
	for (; *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; /* as Docker's */
}

/* Along `path`; an empty entry is the current directory. */
static void exec_along(const char *path, const struct spec *spec)
{
	const char *name = spec->argv[0];
	size_t name_length = strlen(name);
	bool denied = false;
	char file[PATH_MAX];
	for (;;) {
		size_t length = strcspn(path, ":");
		if (length + 1 + name_length < sizeof file) {
			memcpy(file, path, length);
			file[length] = '/';
			memcpy(file + length + (length > 0), name, name_length + 1);
			execve(file, spec->argv, spec->env);
			if (errno == EACCES)
				denied = true; /* said at the end, unless a later entry has the program */
			else if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG && errno != ELOOP)
				return;
		}
		if (path[length] == 0)
			break;
		path += length + 1;
	}
	errno = denied ? EACCES : ENOENT;
}

void exec_spec(const struct spec *spec)
{
	const char *name = spec->argv[0];
	if (strchr(name, '/'))
		execve(name, spec->argv, spec->env);
	else if (name[0] == 0)
		errno = ENOENT;
	else
		exec_along(path_of(spec->env), spec);
}
