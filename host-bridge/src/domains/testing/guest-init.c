/*
 * guest-init.c - PID 1 of the guest that the driver's tests boot: loads the image's modules and answers lines on the link.
 *
 *   ping                 pong
 *   disk SERIAL          name, size in sectors, first 16 bytes
 *   random               16 hexadecimal digits from getrandom(2)
 *   flood KIB            writes that much to the console, then "done"
 *   off, panic, reset    as it says; no answer
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void load_modules(void)
{
	DIR *dir = opendir("/modules");
	char *names[64];
	size_t count = 0;
	for (struct dirent *entry; dir && count < 64 && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			names[count++] = strdup(entry->d_name);
	qsort(names, count, sizeof *names, by_name);
	for (size_t i = 0; i < count; i++) {
		char path[300];
		snprintf(path, sizeof path, "/modules/%s", names[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			fprintf(stderr, "%s: %s\n", path, strerror(errno));
		close(fd);
	}
}

static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	close(fd);
	text[n < 0 ? 0 : n] = 0;
	text[strcspn(text, "\n")] = 0;
	return n < 0 ? -1 : 0;
}

/* The entry of `class` whose attribute has that value; waits up to 20 s, since devices come when they come. */
static int find(const char *class, const char *attribute, const char *value, char *name, size_t size)
{
	for (int tries = 0; tries < 20000; tries++) {
		DIR *dir = opendir(class);
		for (struct dirent *entry; dir && (entry = readdir(dir));) {
			char path[600], text[64];
			snprintf(path, sizeof path, "%s/%s/%s", class, entry->d_name, attribute);
			if (read_text(path, text, sizeof text) == 0 && strcmp(text, value) == 0) {
				snprintf(name, size, "%s", entry->d_name);
				closedir(dir);
				return 0;
			}
		}
		if (dir)
			closedir(dir);
		usleep(1000);
	}
	return -1;
}

static void answer_disk(int link, const char *serial)
{
	char name[256], path[300], sectors[64], start[17] = "";
	if (find("/sys/block", "serial", serial, name, sizeof name)) {
		dprintf(link, "none\n");
		return;
	}
	snprintf(path, sizeof path, "/sys/block/%s/size", name);
	read_text(path, sectors, sizeof sectors);
	snprintf(path, sizeof path, "/dev/%s", name);
	int fd = -1;
	for (int tries = 0; fd < 0 && tries < 5000; tries++) { /* devtmpfs has it a moment after sysfs */
		fd = open(path, O_RDONLY | O_CLOEXEC);
		usleep(1000);
	}
	if (fd < 0 || read(fd, start, 16) != 16)
		snprintf(start, sizeof start, "error %d", errno);
	close(fd);
	dprintf(link, "%s %s %s\n", name, sectors, start);
}

static void serve(int link, const char *line)
{
	if (strcmp(line, "ping") == 0) {
		dprintf(link, "pong\n");
	} else if (strncmp(line, "disk ", 5) == 0) {
		answer_disk(link, line + 5);
	} else if (strcmp(line, "random") == 0) {
		unsigned long long bytes = 0;
		getrandom(&bytes, sizeof bytes, 0);
		dprintf(link, "%016llx\n", bytes);
	} else if (strncmp(line, "flood ", 6) == 0) {
		char block[1024];
		memset(block, 'f', sizeof block);
		block[sizeof block - 1] = '\n';
		for (long kib = atol(line + 6); kib > 0; kib--)
			if (write(1, block, sizeof block) < 0)
				break;
		dprintf(link, "done\n");
	} else if (strcmp(line, "off") == 0) {
		reboot(RB_POWER_OFF);
	} else if (strcmp(line, "reset") == 0) {
		reboot(RB_AUTOBOOT);
	} else if (strcmp(line, "panic") == 0) {
		exit(1); /* "Attempted to kill init!" */
	} else {
		dprintf(link, "unknown\n");
	}
}

int main(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, "");
	mount("sys", "/sys", "sysfs", 0, "");
	mount("dev", "/dev", "devtmpfs", 0, "");
	int console = open("/dev/console", O_RDWR);
	for (int fd = 0; console >= 0 && fd < 3; fd++)
		dup2(console, fd);
	load_modules();
	char name[256], path[300];
	if (find("/sys/class/virtio-ports", "name", "zone.link", name, sizeof name))
		return 2;
	snprintf(path, sizeof path, "/dev/%s", name);
	int link = open(path, O_RDWR | O_CLOEXEC);
	printf("test guest is up\n");
	fflush(stdout);
	char line[256];
	size_t length = 0;
	for (;;) {
		ssize_t n = read(link, line + length, 1);
		if (n <= 0) {
			usleep(1000); /* nobody at the host's end */
		} else if (line[length] == '\n') {
			line[length] = 0;
			length = 0;
			serve(link, line);
		} else if (length < sizeof line - 2) {
			length++;
		}
	}
}
