// Makes ThreadSanitizer understand Swift's Mutex. Only scripts/check-threads compiles this, and links it into the tests.
//
// The fast paths of `Mutex.withLock` are inlined into our code, and instrumented there. Its slow paths, a thread that finds the lock
// taken, and one that leaves it to another, are compiled into libswiftSynchronization without instrumentation: the sanitizer does not
// see that one thread had the lock after the other, and calls each such pair a race. So what is linked in front of the library says it.
//
// In C, as the names are those of methods of Swift's, and the lock is in the register of their `self`. Should another toolchain rename
// them, this would be without effect, and there would be reports of races that are none: `scripts/check-threads` looks.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

void __tsan_acquire(void *);
void __tsan_release(void *);

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

// Synchronization._MutexHandle._lockSlow(UInt32) and ._unlockSlow()
#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef SWIFT void LockSlow(uint32_t thread, SELF);
typedef SWIFT void UnlockSlow(SELF);

LockSlow lockSlow __asm__(LOCK_SLOW);
SWIFT void lockSlow(uint32_t thread, SELF) {
  ((LockSlow *)dlsym(RTLD_NEXT, LOCK_SLOW))(thread, self);
  __tsan_acquire(self);
}

UnlockSlow unlockSlow __asm__(UNLOCK_SLOW);
SWIFT void unlockSlow(SELF) {
  __tsan_release(self);
  ((UnlockSlow *)dlsym(RTLD_NEXT, UNLOCK_SLOW))(self);
}
