/* log.c - PID 1's words: the kernel's log in a zone (the console shows it), stderr in the foreground. */
#include "init.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool in_vm;

static void put(const char *level, const char *format, va_list arguments)
{
	char line[512];
	int head = snprintf(line, sizeof line, "%szone-init: ", in_vm ? level : "");
	int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, arguments);
	if (body < 0)
		return;
	size_t length = strlen(line);
	line[length++] = '\n';
	int fd = in_vm ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC) : -1;
	/* A log that cannot be written has nowhere to say so. */
	ssize_t written = write(fd < 0 ? STDERR_FILENO : fd, line, length);
	(void)written;
	if (fd >= 0)
		close(fd);
}

void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	put("<6>", format, arguments);
	va_end(arguments);
}

void warn(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	put("<3>", format, arguments);
	va_end(arguments);
}

void fatal(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	put("<2>", format, arguments);
	va_end(arguments);
	if (!in_vm)
		exit(1);
	leave(1);
}
