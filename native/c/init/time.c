/* time.c - clocks and timeouts. */
#include "init.h"

#include <limits.h>
#include <time.h>

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t realtime_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void rest_ms(int ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	nanosleep(&t, NULL); /* shorter by a signal does no harm: all callers look again */
}

int sooner(int a, int b)
{
	if (a == NEVER || b == NEVER)
		return a == NEVER ? b : a;
	return a < b ? a : b;
}

int until(int64_t deadline_ms)
{
	int64_t left = deadline_ms - now_ms();
	return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}
