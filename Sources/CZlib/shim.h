#include <zlib.h>

// What zlib has as a macro, which Swift does not see: 15 is the largest window, 16 asks for gzip's form, 8 is zlib's own
// default of memory.
static inline int gzip_begin(z_stream *stream, int level) {
  return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}
