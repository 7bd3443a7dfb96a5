import ByteBuffers
package import EventLoop
package import TLS

/// The bytes of a connection, through its stream or through TLS over that.
package final class ByteTransport {
  /// About how many bytes are gathered before they are written.
  static let goodSize = 65_536

  /// The outcome of one read.
  package enum ReadResult {
    /// Bytes. Unless `isAll`, more may be ready to be read.
    case bytes(Int, isAll: Bool)
    case wouldBlock
    case closed
    case failed(String)
  }

  /// Why bytes cannot be written any more.
  struct WriteError: Error, CustomStringConvertible {
    let reason: String
    package var description: String { reason }
  }

  private let stream: any ByteStream
  /// Nil for plaintext.
  private let tls: TLSSession?
  /// The protocol that the handshake has to agree on (ALPN); nil if none is required.
  private let expectedProtocol: String?
  private var bytes = ByteQueue(keepsMemory: true)
  /// TLS sends and receives on its own account, too: a read may wait until the socket takes bytes, a write until bytes
  /// come.
  private var readNeedsWriting = false
  private(set) var writeNeedsReading = false

  package init(_ stream: any ByteStream, tls: TLSSession?, expectedProtocol: String? = HTTP2Session.protocolName) {
    self.expectedProtocol = expectedProtocol
    self.stream = stream
    self.tls = tls
  }

  /// The security of the connection in words: the version of TLS, or `plaintext`.
  var security: String { tls.map { $0.version + ($0.isResumed ? ", resumed" : "") } ?? "plaintext" }

  // MARK: - The handshake

  package enum Handshake {
    case done
    case underWay
    case failed(String)
  }

  /// Continues the TLS handshake. It fails if the peer does not choose the expected protocol (RFC 9113, section 3.2).
  package func handshake() -> Handshake {
    guard let tls else { return .done }
    switch tls.handshake() {
    case .wantsReadable:
      stream.watch(.readable)
      return .underWay
    case .wantsWritable:
      stream.watch(.writable)
      return .underWay
    case .failed(let error): return .failed(error.description)
    case .done:
      let chosen = tls.negotiatedProtocol
      if expectedProtocol == nil || chosen == expectedProtocol { return .done }
      return .failed(
        "the peer speaks TLS, but chose \(chosen.map { "'\($0)'" } ?? "no protocol") instead of HTTP/2 (ALPN h2)")
    }
  }

  // MARK: - Reading

  package func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
    if let tls { return read(into: buffer, from: tls) }
    switch stream.read(into: buffer) {
    case .bytes(let count): return .bytes(count, isAll: count < buffer.count)
    case .wouldBlock: return .wouldBlock
    case .closed: return .closed
    case .failed(let error): return .failed(error.description)
    }
  }

  private func read(into buffer: UnsafeMutableRawBufferPointer, from tls: TLSSession) -> ReadResult {
    readNeedsWriting = false
    switch tls.read(into: buffer) {
    // TLS gives one record at a time.
    case .bytes(let count): return .bytes(count, isAll: false)
    case .wantsReadable: return .wouldBlock
    case .wantsWritable:
      readNeedsWriting = true
      stream.watch([.readable, .writable])
      return .wouldBlock
    case .closed: return .closed
    // gRPC marks its own ends: a peer that closes without TLS's close_notify makes no difference.
    case .failed(let error) where error.kind == .truncated: return .closed
    case .failed(let error): return .failed(error.description)
    }
  }

  // MARK: - Writing

  /// How many bytes wait to be written.
  var queued: Int { bytes.count }

  package func queue(_ more: UnsafeRawBufferPointer) { bytes.append(more) }

  /// Writes as many of the queued bytes as the socket takes.
  ///
  /// - Throws: ``WriteError``.
  package func send() throws {
    bytes.drop(try bytes.withUnsafeBytes { rest throws(WriteError) in try write(rest) })
  }

  private func write(_ rest: UnsafeRawBufferPointer) throws(WriteError) -> Int {
    if let tls { return try write(rest, to: tls) }
    do throws(LoopError) {
      return try stream.write(rest)
    } catch {
      throw WriteError(reason: error.description)
    }
  }

  /// Writes until the socket takes no more: each call of TLS takes one record.
  private func write(_ bytes: UnsafeRawBufferPointer, to tls: TLSSession) throws(WriteError) -> Int {
    writeNeedsReading = false
    var count = 0
    while count < bytes.count {
      switch tls.write(UnsafeRawBufferPointer(rebasing: bytes[count...])) {
      case .bytes(let more): count += more
      case .wantsWritable: return count
      case .wantsReadable:
        writeNeedsReading = true
        return count
      case .closed: throw WriteError(reason: "the peer closed the connection")
      case .failed(let error): throw WriteError(reason: error.description)
      }
    }
    return count
  }

  /// Watches the socket for the events that the last reads and writes wait for.
  package func watch() {
    var events: SocketEvents = .readable
    if readNeedsWriting || (queued > 0 && !writeNeedsReading) { events.insert(.writable) }
    stream.watch(events)
  }
}
