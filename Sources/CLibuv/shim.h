#include <malloc.h>
#include <sys/prctl.h>
#include <uv.h>

// prctl is variadic, which Swift cannot call.
static inline void name_this_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
