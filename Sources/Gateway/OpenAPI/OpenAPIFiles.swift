import GrpcBridge
import EventLoop
import Synchronization
import Transcoding

/// The finished documents of a process. Each is made when it is first asked for, and kept from then on: a gateway that
/// nobody asks has none.
final class OpenAPIFiles: Sendable {
  /// A document in memory that is never freed, so that answers refer to it.
  struct File: @unchecked Sendable {
    // Invariant (and why it is Sendable): the bytes never change, and are never freed.
    let bytes: UnsafeRawBufferPointer
    /// What tells it from other versions of the document, as a revision tells those of a key.
    let revision: Int64
  }

  private let routes: RouteTable
  private let files = Mutex<[OpenAPIFormat: File]>([:])

  init(_ routes: RouteTable) { self.routes = routes }

  /// A document. Making it holds up the calling thread, and with it a shard, for some tens of milliseconds, once in the
  /// life of the process: less than would justify to wait for another one.
  subscript(format: OpenAPIFormat) -> File {
    files.withLock { files in
      if let file = files[format] { return file }
      let file = make(format)
      files[format] = file
      // What it was made of is free again.
      returnFreeMemory()
      return file
    }
  }

  private func make(_ format: OpenAPIFormat) -> File {
    let document = OpenAPIDocument.make(routes, format)
    var digest = SnapshotDigest()
    document.withUnsafeBytes { digest.update($0) }
    let revision = digest.finish().prefix(8).reduce(0) { $0 << 8 | UInt64($1) } >> 1
    return File(bytes: UnsafeRawBufferPointer(document.release()), revision: Int64(revision))
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

  var isForEtcd: Bool { false }

  func receivedEnd() {
    let file = shard.descriptions[format]
    do throws(RequestError) {
      let known = try TagCondition(exchange.head.ifNoneMatch, "If-None-Match")
      exchange.respond(
        known?.matchesWeakly(file.revision) == true ? 304 : 200, contentType: format.mediaType, constant: file.bytes,
        headers: [("ETag", EntityTag.text(file.revision)), ("Cache-Control", "no-cache")])
    } catch {
      exchange.respond(.error(error))
    }
  }

  func clientIsGone() {}
}
