#include <microhttpd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

// Swift cannot call C's variadic functions: each one that is needed is here with fixed arguments.

static inline struct MHD_Daemon *start_daemon(
    unsigned int flags, MHD_AccessHandlerCallback handler, void *context, const struct MHD_OptionItem *options) {
  return MHD_start_daemon(
      flags, 0, NULL, NULL, handler, context, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static inline int daemon_epoll_descriptor(struct MHD_Daemon *daemon) {
  return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

static inline int connection_descriptor(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static inline void *connection_context(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static inline size_t request_header_size(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
}

static inline bool has_whole_head(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE) != NULL;
}

static inline bool has_response(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS) != NULL;
}

/// process_vm_readv(2), which the headers declare only for programs that ask for GNU's extensions.
extern ssize_t process_vm_readv(
    pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long, unsigned long);

/// Copies up to 8 KiB of this process's memory, as far as it exists: nothing happens where it does not.
static inline size_t copy_existing_memory(void *copy, const void *memory, size_t size) {
  // An element is copied as a whole or not at all.
  enum { page = 4096, most = 3 };
  struct iovec pieces[most];
  unsigned long count = 0;
  uintptr_t start = (uintptr_t) memory;
  for (size_t left = size; left > 0 && count < most; count++) {
    const size_t rest = page - start % page, length = left < rest ? left : rest;
    pieces[count] = (struct iovec) {(void *) start, length};
    start += length;
    left -= length;
  }
  const struct iovec target = {copy, size};
  const ssize_t copied = process_vm_readv(getpid(), &target, 1, pieces, count, 0);
  return copied < 0 ? 0 : (size_t) copied;
}

static inline enum MHD_Result close_upgraded(struct MHD_UpgradeResponseHandle *handle) {
  return MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

static inline enum MHD_Result without_chunks(struct MHD_Response *response) {
  return MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
}

static inline enum MHD_Result set_timeout(struct MHD_Connection *connection, unsigned int seconds) {
  return MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

static inline int is_suspended(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_SUSPENDED)->suspended == MHD_YES;
}

/// Notified that libmicrohttpd is about to answer an error by itself, and with which status. It must outlive the daemon.
struct answer_listener {
  void (*callback)(void *context, unsigned int status);
  void *context;
};

/// `MHD_LogCallback`: the message before such an answer has the answer's status as its first argument.
static inline void tell_of_answer(void *listener, const char *format, va_list arguments) {
  static const char announcement[] = "Error processing request (HTTP response code is %u";
  const struct answer_listener *told = (const struct answer_listener *) listener;
  if (0 == strncmp(format, announcement, sizeof(announcement) - 1)) {
    told->callback(told->context, va_arg(arguments, unsigned int));
  }
}

static inline struct MHD_OptionItem listener_option(struct answer_listener *listener) {
  const struct MHD_OptionItem option = {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t) &tell_of_answer, listener};
  return option;
}
