/*
 * raw-port.c - PID 1 of the baseline: moves bytes over the virtio-serial port with nothing in between.
 *
 * Loads /modules/NN-name.ko in order as zone-init does, opens the port named zone.link, and obeys lines:
 *   P            answers "p\n"               (round trip)
 *   S BYTES      sends that many bytes       (out of the guest)
 *   R BYTES      receives them, then "k\n"   (into the guest)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char block[1 << 18];

static void die(const char *what)
{
	perror(what);
	for (;;)
		pause();
}

static void load_modules(void)
{
	struct dirent **names;
	int count = scandir("/modules", &names, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char path[512];
		snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && names[i]->d_name[0] != '.')
			syscall(SYS_finit_module, fd, "", 0);
		if (fd >= 0)
			close(fd);
	}
}

/* The port's device, found by its name; it appears a moment after its driver. */
static int open_port(void)
{
	for (int tries = 0; tries < 10000; tries++, usleep(1000)) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *entry;
		while (dir && (entry = readdir(dir))) {
			char path[512], name[64] = "";
			snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
			int fd = open(path, O_RDONLY);
			if (fd < 0)
				continue;
			if (read(fd, name, sizeof name - 1) < 0)
				name[0] = 0;
			close(fd);
			if (strcmp(name, "zone.link\n") != 0)
				continue;
			snprintf(path, sizeof path, "/dev/%s", entry->d_name);
			fd = open(path, O_RDWR);
			if (fd >= 0)
				return fd;
		}
		if (dir)
			closedir(dir);
	}
	return -1;
}

static void send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0)
			die("write");
		data += n;
		size -= (size_t)n;
	}
}

int main(void)
{
	mkdir("/dev", 0755);
	mkdir("/sys", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	load_modules();
	int fd = open_port();
	if (fd < 0)
		die("port");
	for (;;) {
		char line[64];
		size_t used = 0;
		while (used < sizeof line - 1) {
			ssize_t n = read(fd, line + used, 1);
			if (n < 0)
				die("read");
			if (n == 0)
				usleep(1000); /* nobody is connected */
			else if (line[used++] == '\n')
				break;
		}
		line[used] = 0;
		long long left = atoll(line + 1);
		switch (line[0]) {
		case 'P':
			send_all(fd, "p\n", 2);
			break;
		case 'S':
			for (; left > 0; left -= (long long)sizeof block)
				send_all(fd, block, left < (long long)sizeof block ? (size_t)left : sizeof block);
			break;
		case 'R':
			while (left > 0) {
				ssize_t n = read(fd, block, sizeof block);
				if (n > 0)
					left -= n;
			}
			send_all(fd, "k\n", 2);
			break;
		}
	}
}
