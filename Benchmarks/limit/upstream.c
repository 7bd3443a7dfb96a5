/* upstream: an etcd that costs nothing, to see what a gateway costs by itself.
 *
 * It answers every gRPC call with a message that was made before: a file of lines "PATH HEX" has one for each path, and what
 * is not in it gets an empty message. A Txn gets its message and behind it, for each operation of the request, the line
 * "operation". It checks no credentials, keeps nothing and handles no error. Not for production.
 *
 * build: cc -O2 upstream.c -o upstream -lnghttp2
 * run:   ./upstream PORT FILE                (plaintext HTTP/2 on 127.0.0.1:PORT)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
  char path[128];
  uint8_t *bytes;
  size_t length;
} Answer;

typedef struct {
  const Answer *answer;
  size_t sent;             /* bytes of the frame that have gone out */
  size_t operations;       /* of a Txn's branch that is executed, all of which are counted as they come */
  uint8_t *request;
  size_t requestLength;
} Stream;

typedef struct {
  int fd, waitsForRoom;
  nghttp2_session *session;
  uint8_t *out;
  size_t outLength, outCapacity;
} Connection;

enum { mostAnswers = 64, frameHead = 5 };
static Answer answers[mostAnswers], empty, operation;
static int answerCount, waitFd;
static const char transaction[] = "/etcdserverpb.KV/Txn";

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static size_t varint(const uint8_t **at, const uint8_t *end) {
  size_t value = 0;
  for (int shift = 0; *at < end && shift < 64; shift += 7) {
    uint8_t byte = *(*at)++;
    value |= (size_t)(byte & 127) << shift;
    if (byte < 128) break;
  }
  return value;
}

/* How many operations TxnRequest.success (field 2) has; the request begins with the head of its frame. */
static size_t operations(const Stream *stream) {
  size_t count = 0;
  if (stream->requestLength < frameHead) return 0;
  const uint8_t *at = stream->request + frameHead, *end = stream->request + stream->requestLength;
  while (at < end) {
    size_t tag = varint(&at, end);
    if ((tag & 7) != 2) return count;
    size_t length = varint(&at, end);
    if (length > (size_t)(end - at)) return count;
    at += length;
    count += tag >> 3 == 2;
  }
  return count;
}

static ssize_t readBody(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t capacity, uint32_t *flags,
                        nghttp2_data_source *source, void *user) {
  (void)user;
  Stream *stream = source->ptr;
  const Answer *answer = stream->answer;
  size_t message = answer->length + stream->operations * operation.length, total = frameHead + message, length = 0;
  const uint8_t head[frameHead] = {0, (uint8_t)(message >> 24), (uint8_t)(message >> 16), (uint8_t)(message >> 8), (uint8_t)message};
  while (stream->sent < total && length < capacity) {
    size_t at = stream->sent;
    const uint8_t *from;
    size_t rest;
    if (at < frameHead) {
      from = head + at, rest = frameHead - at;
    } else if ((at -= frameHead) < answer->length) {
      from = answer->bytes + at, rest = answer->length - at;
    } else {
      at = (at - answer->length) % operation.length;
      from = operation.bytes + at, rest = operation.length - at;
    }
    if (rest > capacity - length) rest = capacity - length;
    memcpy(buffer + length, from, rest);
    length += rest;
    stream->sent += rest;
  }
  if (stream->sent == total) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_nv trailer[] = {{(uint8_t *)"grpc-status", (uint8_t *)"0", 11, 1, NGHTTP2_NV_FLAG_NONE}};
    nghttp2_submit_trailer(session, id, trailer, 1);
  }
  return (ssize_t)length;
}

static int onBegin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  (void)user;
  Stream *stream = calloc(1, sizeof *stream);
  if (!stream) fail("calloc");
  stream->answer = &empty;
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
  return 0;
}

static int onHeader(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t nameLength,
                    const uint8_t *value, size_t valueLength, uint8_t flags, void *user) {
  (void)flags, (void)user;
  Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (!stream || nameLength != 5 || memcmp(name, ":path", 5)) return 0;
  for (int i = 0; i < answerCount; i++)
    if (strlen(answers[i].path) == valueLength && !memcmp(answers[i].path, value, valueLength)) stream->answer = &answers[i];
  return 0;
}

static int onData(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *user) {
  (void)flags, (void)user;
  Stream *stream = nghttp2_session_get_stream_user_data(session, id);
  if (!stream || strcmp(stream->answer->path, transaction)) return 0;
  stream->request = realloc(stream->request, stream->requestLength + length);
  if (!stream->request) fail("realloc");
  memcpy(stream->request + stream->requestLength, data, length);
  stream->requestLength += length;
  return 0;
}

static int onFrame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  (void)user;
  if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
    return 0;
  Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (!stream) return 0;
  if (stream->request) stream->operations = operations(stream);
  nghttp2_nv headers[] = {{(uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE},
                          {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, NGHTTP2_NV_FLAG_NONE}};
  nghttp2_data_provider body = {.source = {.ptr = stream}, .read_callback = readBody};
  nghttp2_submit_response(session, frame->hd.stream_id, headers, 2, &body);
  return 0;
}

static int onClose(nghttp2_session *session, int32_t id, uint32_t error, void *user) {
  (void)error, (void)user;
  Stream *stream = nghttp2_session_get_stream_user_data(session, id);
  if (stream) free(stream->request);
  free(stream);
  return 0;
}

static void end(Connection *connection) {
  nghttp2_session_del(connection->session);
  close(connection->fd);
  free(connection->out);
  free(connection);
}

/* False where the connection is over. */
static int flush(Connection *connection) {
  for (;;) {
    const uint8_t *data;
    ssize_t length;
    while (connection->outLength < 65536 && (length = nghttp2_session_mem_send(connection->session, &data)) > 0) {
      if (connection->outLength + (size_t)length > connection->outCapacity) {
        connection->outCapacity = (connection->outLength + (size_t)length) * 2;
        connection->out = realloc(connection->out, connection->outCapacity);
        if (!connection->out) fail("realloc");
      }
      memcpy(connection->out + connection->outLength, data, (size_t)length);
      connection->outLength += (size_t)length;
    }
    if (!connection->outLength) break;
    ssize_t sent = send(connection->fd, connection->out, connection->outLength, MSG_NOSIGNAL);
    if (sent < 0) break;
    memmove(connection->out, connection->out + sent, connection->outLength - (size_t)sent);
    connection->outLength -= (size_t)sent;
    if (connection->outLength) break;
  }
  if (!!connection->outLength != connection->waitsForRoom) {
    connection->waitsForRoom = !connection->waitsForRoom;
    struct epoll_event event = {connection->waitsForRoom ? EPOLLIN | EPOLLOUT : EPOLLIN, {.ptr = connection}};
    epoll_ctl(waitFd, EPOLL_CTL_MOD, connection->fd, &event);
  }
  return nghttp2_session_want_read(connection->session) || nghttp2_session_want_write(connection->session);
}

static void take(int listenFd, nghttp2_session_callbacks *callbacks) {
  int fd = accept4(listenFd, NULL, NULL, SOCK_NONBLOCK), one = 1;
  if (fd < 0) return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  Connection *connection = calloc(1, sizeof *connection);
  if (!connection) fail("calloc");
  connection->fd = fd;
  nghttp2_session_server_new(&connection->session, callbacks, connection);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
  nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 1);
  nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
  struct epoll_event event = {EPOLLIN, {.ptr = connection}};
  epoll_ctl(waitFd, EPOLL_CTL_ADD, fd, &event);
  if (!flush(connection)) end(connection);
}

static void readAnswers(const char *name) {
  FILE *file = fopen(name, "r");
  if (!file) fail(name);
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, file) > 0) {
    Answer answer = {.bytes = NULL};
    char *hex = strchr(line, ' ');
    if (!hex || (size_t)(hex - line) >= sizeof answer.path || answerCount == mostAnswers) {
      fprintf(stderr, "%s: not PATH HEX: %s", name, line);
      exit(2);
    }
    *hex++ = 0;
    strcpy(answer.path, line);
    answer.bytes = malloc(strlen(hex));
    for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2) answer.bytes[answer.length++] = (uint8_t)byte;
    if (strcmp(answer.path, "operation")) answers[answerCount++] = answer;
    else operation = answer;
  }
  free(line);
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc != 3) return fputs("usage: upstream PORT FILE\n", stderr), 2;
  readAnswers(argv[2]);
  int listenFd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listenFd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (bind(listenFd, (void *)&address, sizeof address) || listen(listenFd, 1024)) fail("listen");

  nghttp2_session_callbacks *callbacks;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBegin);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onClose);
  waitFd = epoll_create1(0);
  struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
  epoll_ctl(waitFd, EPOLL_CTL_ADD, listenFd, &event);

  static uint8_t in[262144];
  for (;;) {
    struct epoll_event ready[64];
    int count = epoll_wait(waitFd, ready, 64, -1);
    for (int i = 0; i < count; i++) {
      Connection *connection = ready[i].data.ptr;
      if (!connection) {
        take(listenFd, callbacks);
        continue;
      }
      int goesOn = 1;
      if (ready[i].events & ~EPOLLOUT) {
        ssize_t got = recv(connection->fd, in, sizeof in, 0);
        goesOn = got > 0 && nghttp2_session_mem_recv(connection->session, in, (size_t)got) == got;
      }
      if (!goesOn || !flush(connection)) end(connection);
    }
  }
}
