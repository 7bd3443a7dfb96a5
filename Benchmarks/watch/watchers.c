// Opens many watches, each over an HTTP/1.1 connection of its own, and counts what comes, at next to no cost.
//
//   watchers PORT COUNT BODY [AUTHORIZATION [times]]
//
// It says "ready" when every watch has had its first frame. Then each number on standard input is a total of events to
// wait for, answered with one line of JSON about all events so far:
//
//   events        of all watches together
//   disorder      events whose revision was not higher than the one before on the same watch
//   first, last   the lowest and the highest of the watches' first, and last, revisions
//   fewest, most  events of a watch
//   closed        watches that have ended
//
// With "times" it also says "REVISION NANOSECONDS" (CLOCK_MONOTONIC) as each event arrives.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// A revision follows this, wherever a chunk or a read may part it.
static const char pattern[] = "\"mod_revision\":\"";
enum { patternLength = sizeof pattern - 1, mostOpening = 200 };

struct watch {
  int socket;
  enum { connecting, waiting, ready, closed } state;
  int matched;      // bytes of the pattern; all of them while a revision is being read
  uint64_t number;  // the revision as far as it has been read
  uint64_t first, last, events;
};

static struct watch *watches;
static int count, opened, opening, readyCount, closedCount, epoll, showsTimes;
static uint64_t events, disorder, awaited = UINT64_MAX;
static char *request;
static size_t requestLength;
static struct sockaddr_in server;

static void fail(const char *what) {
  fprintf(stderr, "watchers: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void openOne(void) {
  struct watch *watch = &watches[opened++];
  watch->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (watch->socket < 0) fail("socket");
  if (connect(watch->socket, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS) fail("connect");
  struct epoll_event event = {EPOLLOUT, {.ptr = watch}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, watch->socket, &event) != 0) fail("epoll_ctl");
  opening++;
}

static void sendRequest(struct watch *watch) {
  ssize_t sent = send(watch->socket, request, requestLength, MSG_NOSIGNAL);
  if (sent != (ssize_t)requestLength) fail("sending a request");
  watch->state = waiting;
  struct epoll_event event = {EPOLLIN, {.ptr = watch}};
  epoll_ctl(epoll, EPOLL_CTL_MOD, watch->socket, &event);
}

static void take(struct watch *watch, uint64_t revision) {
  if (revision <= watch->last) disorder++;
  if (!watch->events++) watch->first = revision;
  watch->last = revision;
  events++;
  if (showsTimes) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%lu %lu\n", revision, now.tv_sec * 1000000000ul + now.tv_nsec);
  }
}

static void scan(struct watch *watch, const char *bytes, ssize_t length) {
  for (const char *end = bytes + length; bytes < end; bytes++) {
    if (watch->matched == patternLength) {
      if (*bytes >= '0' && *bytes <= '9') {
        watch->number = watch->number * 10 + (*bytes - '0');
      } else if (*bytes == '"') {
        take(watch, watch->number);
        watch->number = watch->matched = 0;
      }  // else a chunk's end parts the number, which no server under test does
    } else if (*bytes == pattern[watch->matched]) {
      watch->matched++;
    } else {
      watch->matched = *bytes == pattern[0];
    }
  }
}

static void receive(struct watch *watch) {
  static char buffer[256 * 1024];
  ssize_t length = recv(watch->socket, buffer, sizeof buffer, 0);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length <= 0) {
    if (watch->state == waiting) {
      fprintf(stderr, "watchers: a connection ended before its watch began\n");
      exit(1);
    }
    epoll_ctl(epoll, EPOLL_CTL_DEL, watch->socket, NULL);
    close(watch->socket);
    watch->state = closed;
    closedCount++;
    return;
  }
  if (watch->state == waiting && !memmem(buffer, length, "HTTP/1.1 200 ", 13)) {
    fprintf(stderr, "watchers: a watch was answered with %.*s\n", (int)length, buffer);
    exit(1);
  }
  scan(watch, buffer, length);
  if (watch->state == waiting && memmem(buffer, length, "\"created\":true", 14)) {
    watch->state = ready;
    readyCount++;
    opening--;
    if (opened < count) openOne();
  }
}

static void report(void) {
  uint64_t first[2] = {UINT64_MAX, 0}, last[2] = {UINT64_MAX, 0}, number[2] = {UINT64_MAX, 0};
  for (int i = 0; i < count; i++) {
    uint64_t figures[] = {watches[i].first, watches[i].last, watches[i].events};
    uint64_t *ranges[] = {first, last, number};
    for (int j = 0; j < 3; j++) {
      if (figures[j] < ranges[j][0]) ranges[j][0] = figures[j];
      if (figures[j] > ranges[j][1]) ranges[j][1] = figures[j];
    }
  }
  printf("{\"events\":%lu,\"disorder\":%lu,\"first\":[%lu,%lu],\"last\":[%lu,%lu],\"fewest\":%lu,\"most\":%lu,\"closed\":%d}\n",
         events, disorder, first[0], first[1], last[0], last[1], number[0], number[1], closedCount);
}

int main(int argc, char **argv) {
  if (argc < 4) return fputs("usage: watchers PORT COUNT BODY [AUTHORIZATION [times]]\n", stderr), 2;
  count = atoi(argv[2]);
  const char *authorization = argc > 4 ? argv[4] : "";
  showsTimes = argc > 5;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  setvbuf(stdout, NULL, _IOLBF, 0);

  requestLength = asprintf(
      &request, "POST /v3/watch HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n%s%s%sContent-Length: %zu\r\n\r\n%s", argv[1],
      *authorization ? "Authorization: " : "", authorization, *authorization ? "\r\n" : "", strlen(argv[3]), argv[3]);
  server = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  watches = calloc(count, sizeof *watches);
  epoll = epoll_create1(0);
  struct epoll_event input = {EPOLLIN, {.ptr = NULL}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
  while (opened < count && opening < mostOpening) openOne();

  for (int saidReady = 0;;) {
    struct epoll_event ready[256];
    int number = epoll_wait(epoll, ready, 256, -1);
    for (int i = 0; i < number; i++) {
      struct watch *watch = ready[i].data.ptr;
      if (!watch) {
        char line[64];
        ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
        if (length <= 0) return 0;
        line[length] = 0;
        awaited = strtoull(line, NULL, 10);
      } else if (watch->state == connecting) {
        sendRequest(watch);
      } else {
        receive(watch);
      }
    }
    if (!saidReady && readyCount == count) saidReady = puts("ready") >= 0;
    if (events >= awaited) {
      report();
      awaited = UINT64_MAX;
    }
  }
}
