/*
 * main.c - PID 1 of a zone.
 *
 * One thread, one loop, which waits nowhere but in epoll_wait(2): for signals (a child has ended), the agent's socket, and the
 * results of exec. What each file may do to the others:
 *
 *   control.c   reads a request -> requests.c -> spawn.c, records.c, power_off.c
 *   spawn.c     exec's result   -> control.c tells it
 *   reap.c      a child's end   -> agent.c, or records.c and control.c tells it
 *
 * docs/pid1.md is the page about all this, include/zone_init.h the contract with the agent.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EVENTS = 64, SIGNAL_GRACE_MS = 5000, OPEN_FILES = 1 << 20 };

extern char **environ;

static int epoll_fd, signal_fd;

/* ENOSPC, ENOMEM: what the zone's processes leave of both is not in PID 1's hand, so its callers go on without. */
bool watch(int fd, uint32_t events, uint64_t what)
{
	struct epoll_event event = {.events = events, .data.u64 = what};
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Takes no memory, and nothing of what is counted. */
void watch_change(int fd, uint32_t events, uint64_t what)
{
	struct epoll_event event = {.events = events, .data.u64 = what};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
		fatal("cannot wait for descriptor %d: %s", fd, strerror(errno));
}

static void take_signals(void)
{
	struct signalfd_siginfo info;
	while (read(signal_fd, &info, sizeof info) == sizeof info)
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT || info.ssi_signo == SIGPWR)
			power_off_begin(SIGNAL_GRACE_MS);
	/* One SIGCHLD stands for any number of children; reap() asks for all. */
	reap();
}

_Noreturn static void loop(void)
{
	for (;;) {
		int timeout = sooner(agent_tick(), power_off_tick());
		control_flush();
		struct epoll_event events[EVENTS];
		int count = epoll_wait(epoll_fd, events, EVENTS, timeout);
		if (count < 0 && errno != EINTR)
			fatal("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < count; i++) {
			uint64_t what = events[i].data.u64;
			if (what == WATCH_SIGNALS)
				take_signals();
			else if (what == WATCH_CONTROL)
				control_ready();
			else
				spawn_result(&records[what - WATCH_RECORDS]);
		}
	}
}

static void open_loop(void)
{
	sigset_t all;
	sigfillset(&all); /* also SIGPIPE, SIGTSTP...: nothing but a fault stops PID 1 */
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (signal_fd < 0 || epoll_fd < 0 || !watch(signal_fd, EPOLLIN, WATCH_SIGNALS))
		fatal("cannot set up the event loop: %s", strerror(errno));
}

/* A record holds up to 1 + ZI_MAX_KEPT descriptors. Without privilege: as many as are allowed. */
static void raise_open_files(void)
{
	struct rlimit limit = {OPEN_FILES, OPEN_FILES};
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void start_foreground(struct agent_command *command, char **argv)
{
	/* 0, 1 and 2 must be open: no other descriptor may be one of them. */
	int fd;
	while ((fd = open("/dev/null", O_RDWR)) < 3)
		if (fd < 0)
			fatal("cannot open /dev/null: %s", strerror(errno));
	close(fd);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		fatal("cannot become a subreaper: %s", strerror(errno));
	*command = (struct agent_command){.argv = argv, .env = environ, .cgroup_fd = -1};
}

static int usage(void)
{
	fputs("usage: zone-init --foreground -- COMMAND [ARGUMENT...]  run COMMAND as the agent, outside a zone\n"
	      "       zone-init --true                                 do nothing\n"
	      "       zone-init --pause                                reap until SIGTERM\n"
	      "       zone-init --sysctl NAME=VALUE...                 set kernel parameters\n"
	      "As process 1 it starts a zone.\n",
	      stderr);
	return 64; /* EX_USAGE */
}

int main(int argc, char **argv)
{
	struct agent_command command;
	if (argc == 2 && strcmp(argv[1], "--true") == 0)
		return 0;
	if (argc == 2 && strcmp(argv[1], "--pause") == 0)
		return pause_main();
	if (argc >= 3 && strcmp(argv[1], "--sysctl") == 0)
		return sysctl_main(argv + 2);
	bool foreground = argc >= 4 && strcmp(argv[1], "--foreground") == 0 && strcmp(argv[2], "--") == 0;
	in_vm = !foreground && getpid() == 1;
	if (!foreground && !in_vm)
		return usage();

	if (in_vm)
		boot(&command);
	else
		start_foreground(&command, argv + 3);
	/* A child is in its container's pid namespace before its exec: nobody there may look into it. prctl(2). */
	if (geteuid() == 0)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	raise_open_files();
	open_loop();
	agent_setup(&command);
	loop();
}
