/*
 * guest-init.c - PID 1 of the guest that the driver's tests boot: loads the image's modules and answers lines on the link.
 *
 *   ping                 pong
 *   disk SERIAL          name, size in sectors, first 16 bytes
 *   random               16 hexadecimal digits from getrandom(2)
 *   flood KIB            writes that much to the console, then "done"
 *   write SERIAL TEXT    writes a sector that begins with it, and flushes: "done"
 *   gone SERIAL          "gone" when no disk has that serial any more
 *   reach ADDRESS PORT   sets the interface up and connects by TCP: what the other side says first
 *   share TAG            mounts it and reads "hello": its content, and the result of making a file
 *   grow                 brings plugged-in memory and cpus online: MiB and cpus
 *   use MIB              writes to that much memory and frees it: "done"
 *   off, panic, reset    as it says; no answer
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = fd < 0 || syscall(SYS_finit_module, fd, "", 0) ? -1 : 0;
	if (result)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	close(fd);
	return result;
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
		load_module(path);
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

/* "SERIAL TEXT" */
static void write_disk(int link, char *serial)
{
	static char sector[4096] __attribute__((aligned(4096)));
	char name[256], path[300];
	char *text = strchr(serial, ' ');
	*text++ = 0;
	snprintf(sector, 512, "%s", text);
	if (find("/sys/block", "serial", serial, name, sizeof name)) {
		dprintf(link, "none\n");
		return;
	}
	snprintf(path, sizeof path, "/dev/%s", name);
	int fd = -1;
	for (int tries = 0; fd < 0 && tries < 5000; tries++) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		usleep(1000);
	}
	int failed = fd < 0 || pwrite(fd, sector, 512, 0) != 512 || fsync(fd);
	dprintf(link, "%s\n", failed ? strerror(errno) : "done");
	close(fd);
}

static int has_serial(const char *serial)
{
	DIR *dir = opendir("/sys/block");
	int found = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char path[600], text[64];
		snprintf(path, sizeof path, "/sys/block/%s/serial", entry->d_name);
		found |= read_text(path, text, sizeof text) == 0 && strcmp(text, serial) == 0;
	}
	closedir(dir);
	return found;
}

static void set_address(struct sockaddr *address, const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	inet_pton(AF_INET, text, &in.sin_addr);
	memcpy(address, &in, sizeof in);
}

static void set_up_interface(int fd)
{
	struct ifreq request = {.ifr_name = "eth0"};
	set_address(&request.ifr_addr, "10.0.2.15");
	ioctl(fd, SIOCSIFADDR, &request);
	set_address(&request.ifr_netmask, "255.255.255.0");
	ioctl(fd, SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ioctl(fd, SIOCSIFFLAGS, &request);
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	set_address(&route.rt_dst, "0.0.0.0");
	set_address(&route.rt_genmask, "0.0.0.0");
	set_address(&route.rt_gateway, "10.0.2.2");
	ioctl(fd, SIOCADDRT, &route);
}

/* "ADDRESS PORT" */
static void reach(int link, char *address)
{
	char *port = strchr(address, ' '), said[64] = "";
	*port++ = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	set_up_interface(fd);
	struct timeval limit = {.tv_sec = 10};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	inet_pton(AF_INET, address, &to.sin_addr);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) || read(fd, said, sizeof said - 1) < 0)
		snprintf(said, sizeof said, "%s", strerror(errno));
	dprintf(link, "%s\n", said);
	close(fd);
}

static void share(int link, const char *tag)
{
	char name[256], path[400], text[64];
	struct utsname kernel;
	uname(&kernel);
	mkdir("/root", 0755);
	mkdir("/share", 0755);
	if (find("/sys/block", "serial", "zone-root", name, sizeof name) == 0) {
		snprintf(path, sizeof path, "/dev/%s", name);
		mount(path, "/root", "erofs", MS_RDONLY, "");
		for (int i = 0; i < 2; i++) {
			snprintf(path, sizeof path, "/root/lib/modules/%s/kernel/fs/fuse/%s.ko", kernel.release, i ? "virtiofs" : "fuse");
			load_module(path);
		}
	}
	int failed = -1;
	for (int tries = 0; failed && tries < 2000; tries++) {
		failed = mount(tag, "/share", "virtiofs", 0, "");
		usleep(1000);
	}
	if (failed || read_text("/share/hello", text, sizeof text)) {
		dprintf(link, "%s\n", strerror(errno));
		return;
	}
	int fd = open("/share/made", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	dprintf(link, "%s, %s\n", text, fd < 0 ? strerror(errno) : "made");
	close(fd);
	umount("/share");
}

/* Writes `value` to ROOT/PREFIX.../ATTRIBUTE where it is `instead`. */
static void set_all(const char *root, const char *prefix, const char *attribute, const char *instead, const char *value)
{
	DIR *dir = opendir(root);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char path[600], text[64];
		snprintf(path, sizeof path, "%s/%s/%s", root, entry->d_name, attribute);
		if (strncmp(entry->d_name, prefix, strlen(prefix)) || read_text(path, text, sizeof text) || strcmp(text, instead))
			continue;
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (write(fd, value, strlen(value)) < 0)
			fprintf(stderr, "%s: %s\n", path, strerror(errno));
		close(fd);
	}
	if (dir)
		closedir(dir);
}

static void grow(int link)
{
	set_all("/sys/devices/system/memory", "memory", "state", "offline", "online");
	set_all("/sys/devices/system/cpu", "cpu", "online", "0", "1");
	struct sysinfo info;
	sysinfo(&info);
	dprintf(link, "%lu %ld\n", info.totalram * info.mem_unit >> 20, sysconf(_SC_NPROCESSORS_ONLN));
}

static void use_memory(int link, long mib)
{
	char *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 1, mib << 20);
	munmap(memory, mib << 20);
	dprintf(link, "done\n");
}

static void serve(int link, char *line)
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
	} else if (strncmp(line, "write ", 6) == 0) {
		write_disk(link, line + 6);
	} else if (strncmp(line, "gone ", 5) == 0) {
		dprintf(link, "%s\n", has_serial(line + 5) ? "there" : "gone");
	} else if (strncmp(line, "reach ", 6) == 0) {
		reach(link, line + 6);
	} else if (strncmp(line, "share ", 6) == 0) {
		share(link, line + 6);
	} else if (strcmp(line, "grow") == 0) {
		grow(link);
	} else if (strncmp(line, "use ", 4) == 0) {
		use_memory(link, atol(line + 4));
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
