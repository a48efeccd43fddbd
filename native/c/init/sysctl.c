/*
 * sysctl.c - `zone-init --sysctl NAME=VALUE...`: sets kernel parameters of the namespaces that it was started in, which is what
 * the agent cannot do from its own.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where `name` of `length` bytes is below /proc/sys: dots are slashes there, and slashes (of a network device) dots. */
static bool sysctl_path(const char *name, size_t length, char *path, size_t size)
{
	int prefix = snprintf(path, size, "/proc/sys/");
	char *file = path + prefix;
	errno = EINVAL;
	if (length == 0 || length >= size - (size_t)prefix)
		return false;
	for (size_t i = 0; i < length; i++)
		file[i] = name[i] == '.' ? '/' : name[i] == '/' ? '.' : name[i];
	file[length] = 0;
	return file[0] != '/' && file[length - 1] != '/' && !strstr(file, "//") && !strstr(file, "..");
}

static bool sysctl_set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	/* At once: the kernel ignores a second write, or takes it for another value. What it leaves is not part of the value. */
	size_t length = strlen(value);
	ssize_t written = write(fd, value, length);
	int errnum = written < 0 ? errno : (size_t)written < length ? EINVAL : 0;
	close(fd);
	errno = errnum;
	return errnum == 0;
}

int sysctl_main(char **settings)
{
	for (; *settings; settings++) {
		char path[4096];
		const char *equals = strchr(*settings, '=');
		size_t length = equals ? (size_t)(equals - *settings) : 0;
		if (sysctl_path(*settings, length, path, sizeof path) && sysctl_set(path, equals + 1))
			continue;
		int errnum = errno;
		fprintf(stderr, "zone-init: %.*s: %s (errno %d)\n", (int)(length ? length : strlen(*settings)), *settings,
			strerror(errnum), errnum);
		return 1;
	}
	return 0;
}
