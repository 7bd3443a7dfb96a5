/* fanout: what it costs at the least to tell many watchers of an event: one send for each socket, of bytes made once.
 *
 * It answers whatever comes on a connection first with the head of a stream and a frame that says "created". Then each line
 * of standard input is a frame, which goes to all connections as a chunk. It reads no request. Not for production.
 *
 * build: cc -O2 fanout.c -o fanout
 * run:   ./fanout PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char created[] = "{\"result\":{\"created\":true}}\n";
enum { mostSockets = 1 << 20 };
static int sockets[mostSockets], count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void sendWhole(int fd, const char *bytes, size_t length) {
  if (send(fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) fail("a watcher does not read");
}

int main(int argc, char **argv) {
  if (argc != 2) return fputs("usage: fanout PORT\n", stderr), 2;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, waiting = epoll_create1(0);
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (bind(listening, (void *)&address, sizeof address) || listen(listening, 1024)) fail("listen");
  struct epoll_event event = {EPOLLIN, {.fd = listening}};
  epoll_ctl(waiting, EPOLL_CTL_ADD, listening, &event);
  event.data.fd = STDIN_FILENO;
  epoll_ctl(waiting, EPOLL_CTL_ADD, STDIN_FILENO, &event);

  char *chunk = NULL;
  size_t capacity = 0;
  static char line[1 << 20], in[65536];
  setvbuf(stdin, NULL, _IONBF, 0);
  for (;;) {
    struct epoll_event ready[256];
    int number = epoll_wait(waiting, ready, 256, -1);
    for (int i = 0; i < number; i++) {
      int fd = ready[i].data.fd;
      if (fd == listening) {
        int taken = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
        if (taken < 0) continue;
        setsockopt(taken, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event = (struct epoll_event){EPOLLIN, {.fd = taken}};
        epoll_ctl(waiting, EPOLL_CTL_ADD, taken, &event);
      } else if (fd == STDIN_FILENO) {
        if (!fgets(line, sizeof line, stdin)) return 0;
        size_t length = strlen(line);
        if (capacity < length + 32 && !(chunk = realloc(chunk, capacity = length + 32))) fail("realloc");
        int total = snprintf(chunk, capacity, "%zx\r\n%s\r\n", length, line);
        for (int j = 0; j < count; j++)
          if (sockets[j] >= 0) sendWhole(sockets[j], chunk, (size_t)total);
      } else {
        ssize_t got = recv(fd, in, sizeof in, 0);
        if (got > 0) {
          if (count == mostSockets) fail("too many watchers");
          char first[256];
          int total = snprintf(first, sizeof first, "%s%zx\r\n%s\r\n", head, sizeof created - 1, created);
          sendWhole(fd, first, (size_t)total);
          sockets[count++] = fd;
        } else if (got == 0 || errno != EAGAIN) {
          for (int j = 0; j < count; j++)
            if (sockets[j] == fd) sockets[j] = -1;
          close(fd);
        }
      }
    }
  }
}
