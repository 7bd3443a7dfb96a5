import EventLoop
import GrpcBridge
import HTTPServer
import Synchronization
import Transcoding

/// The finished documents of a process. Each is made at the first request for it, and kept from then on: without such a
/// request a gateway has none.
final class OpenAPIFiles: Sendable {
  /// A document in memory that is never freed, so that answers can refer to it.
  struct File: @unchecked Sendable {
    // Invariant (and why it is Sendable): the bytes never change, and are never freed.
    let bytes: UnsafeRawBufferPointer
    /// A number that is another one for other content, for the entity tag.
    let revision: Int64
  }

  /// A document, and its compressed form for clients that accept gzip.
  struct Forms {
    let plain: File
    let packed: File?
  }

  private let routes: RouteTable

  private struct State {
    var files: [OpenAPIFormat: Forms] = [:]
    /// The callbacks that wait for a document that is being made.
    var waiting: [OpenAPIFormat: [@Sendable () -> Void]] = [:]
  }

  private let state = Mutex(State())

  init(_ routes: RouteTable) { self.routes = routes }

  /// A document; nil if it is not made yet. Making it takes some hundred milliseconds; a separate thread does that, so
  /// that no shard waits, and calls `whenMade`.
  func file(_ format: OpenAPIFormat, whenMade: @escaping @Sendable () -> Void) -> Forms? {
    let (file, isFirst) = state.withLock { state -> (Forms?, Bool) in
      if let file = state.files[format] { return (file, false) }
      state.waiting[format, default: []].append(whenMade)
      return (nil, state.waiting[format]?.count == 1)
    }
    guard isFirst else { return file }
    do throws(LoopError) {
      try detachThread(name: "etcd-rest api") { [self] in finish(format) }
    } catch {
      // The system grants no further thread.
      finish(format)
    }
    return nil
  }

  private func finish(_ format: OpenAPIFormat) {
    let file = make(format)
    // The memory that making it took is free again.
    returnFreeMemory()
    let waiting = state.withLock { state in
      state.files[format] = file
      return state.waiting.removeValue(forKey: format) ?? []
    }
    for tell in waiting { tell() }
  }

  private func make(_ format: OpenAPIFormat) -> Forms {
    let document = OpenAPIDocument.make(routes, format, isServed: true)
    var digest = SnapshotDigest()
    document.withUnsafeBytes { digest.update($0) }
    let revision = Int64(digest.finish().prefix(8).reduce(0) { $0 << 8 | UInt64($1) } >> 1)
    // Other bytes need another tag (RFC 9110, section 8.8.3.3).
    var packed: File?
    if let bytes = document.withUnsafeBytes({ Gzip.packed($0, .most) }) {
      packed = File(bytes: UnsafeRawBufferPointer(bytes.release()), revision: revision | 1)
    }
    return Forms(
      plain: File(bytes: UnsafeRawBufferPointer(document.release()), revision: revision & ~1), packed: packed)
  }
}

/// Answers with the description of the API.
final class OpenAPIHandler: RequestHandler {
  private let format: OpenAPIFormat
  private unowned let exchange: Exchange
  private unowned let shard: Shard

  init(_ format: OpenAPIFormat, exchange: Exchange, shard: Shard) {
    self.format = format
    self.exchange = exchange
    self.shard = shard
  }

  var needsAllowedHost: Bool { false }

  func receivedEnd() {
    let waiting = LoopBound(Waiting(handler: self), loop: shard.loop)
    let file = shard.descriptions.file(format) { waiting.remote.execute { waiting.value.handler?.receivedEnd() } }
    if let file { respond(with: file) }
  }

  /// A handler whose client may disconnect before the document is made.
  private struct Waiting {
    weak var handler: OpenAPIHandler?
  }

  private func respond(with forms: OpenAPIFiles.Forms) {
    let packed = exchange.takesGzip ? forms.packed : nil
    let file = packed ?? forms.plain
    do throws(RequestError) {
      let known = try TagCondition(exchange.head.ifNoneMatch, "If-None-Match")
      exchange.respond(
        known?.matchesWeakly(file.revision) == true ? 304 : 200, contentType: format.mediaType, constant: file.bytes,
        headers: [("ETag", EntityTag.text(file.revision)), ("Cache-Control", "no-cache")]
          + Gzip.headers(isPacked: packed != nil))
    } catch {
      exchange.refuse(error)
    }
  }

  func clientIsGone() {}
}
