#include <zlib.h>

// A macro of zlib's, which Swift does not see: 15 is the largest window, 16 selects gzip's form, 8 is zlib's default of
// memory.
static inline int gzip_begin(z_stream *stream, int level) {
  return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}
