/// The limits of streams.
struct StreamLimits: Sendable {
  /// How many streams may be open, WebSockets included, on all shards together.
  var most = 20_000
  /// How many WebSockets without a valid request so far may be open besides.
  var maxNew = 1000
  /// While more bytes than this wait for one client, its source is held back.
  var backlog = 256 << 10
  /// A client that takes nothing for so many milliseconds, though there is something to take, is cut.
  var stallTimeout: UInt64 = 60_000
}
