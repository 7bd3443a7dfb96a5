// <sched.h> declares these for _GNU_SOURCE only, and Swift's Glibc has read it without.
#include <linux/sched.h>

int unshare(int flags);
int setns(int descriptor, int type);
