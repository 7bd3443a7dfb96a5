#include <malloc.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <uv.h>

// prctl is variadic, which Swift cannot call.
static inline void name_this_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

// accept4(2), which is GNU's and so not among what Swift sees of the C library. The connection does not block, and no
// child process gets it.
int accept4(int, struct sockaddr *, socklen_t *, int);
static inline int accept_connection(int listener, struct sockaddr *address, socklen_t *length) {
  return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
