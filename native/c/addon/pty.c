/* pty.c - pseudo-terminals. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static bool window_size(napi_env env, napi_value rows, napi_value columns, struct winsize *out)
{
	uint32_t r, c;
	if (!za_uint32(env, rows, &r) || !za_uint32(env, columns, &c))
		return false;
	if (r > UINT16_MAX || c > UINT16_MAX) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a window has at most 65535 rows and columns");
		return false;
	}
	*out = (struct winsize){.ws_row = (unsigned short)r, .ws_col = (unsigned short)c};
	return true;
}

/* The slave of this very master, whatever is mounted at /dev/pts; ioctl_tty(2) TIOCGPTPEER. -1: errno is set. */
static int open_slave(int master, const struct winsize *size)
{
	if (unlockpt(master) != 0)
		return -1;
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || ioctl(slave, TIOCSWINSZ, size) == 0)
		return slave;
	int errnum = errno;
	close(slave);
	errno = errnum;
	return -1;
}

napi_value za_open_pty(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct winsize size;
	if (!za_args(env, info, 2, argv) || !window_size(env, argv[0], argv[1], &size))
		return NULL;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0)
		return za_fail(env, errno, "posix_openpt", "/dev/ptmx");
	int slave = open_slave(master, &size);
	if (slave < 0) {
		int errnum = errno;
		close(master);
		return za_fail(env, errnum, "ioctl", "/dev/ptmx");
	}
	return za_object(env, 2, (const char *const[]){"master", "slave"}, (const int64_t[]){master, slave});
}

napi_value za_open_pty_slave(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct winsize size;
	int master;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &master) || !window_size(env, argv[1], argv[2], &size))
		return NULL;
	int slave = open_slave(master, &size);
	return slave >= 0 ? za_number(env, slave) : za_fail(env, errno, "ioctl", NULL);
}

napi_value za_set_window_size(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct winsize size;
	int fd;
	if (!za_args(env, info, 3, argv) || !za_int(env, argv[0], &fd) || !window_size(env, argv[1], argv[2], &size))
		return NULL;
	return ioctl(fd, TIOCSWINSZ, &size) == 0 ? za_undefined(env) : za_fail(env, errno, "ioctl", NULL);
}

napi_value za_tty_eof_character(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int fd;
	struct termios settings;
	if (!za_args(env, info, 1, argv) || !za_int(env, argv[0], &fd))
		return NULL;
	if (tcgetattr(fd, &settings) != 0)
		return za_fail(env, errno, "tcgetattr", NULL);
	cc_t character = settings.c_cc[VEOF];
	bool usable = (settings.c_lflag & ICANON) && character != _POSIX_VDISABLE;
	return za_number(env, usable ? character : -1);
}
