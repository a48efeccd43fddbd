/*
 * ram-discard.c - lets QEMU give back a cloned zone's memory. Preloaded into the VMM (LD_PRELOAD, ld.so(8)).
 *
 * A clone maps the sealed file of its template copy-on-write. When the guest has no use for a page (balloon, free page reporting),
 * QEMU punches a hole into that file first, and only when that has worked gives the private copy back with madvise(2)
 * (ram_block_discard_range() in softmmu/physmem.c of 7.2). The file is every clone's, and sealed: the hole would fail, the copy
 * would stay, and QEMU would write a line about it for each page that a guest chooses. So here a hole in a sealed file is made
 * without being made. The guest then finds the template's page again, which it may: what it has given away has no contents.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		int seals = fcntl(fd, F_GET_SEALS);
		if (seals >= 0 && (seals & F_SEAL_WRITE))
			return 0;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) __attribute__((alias("fallocate")));
