import ByteBuffers
package import EventLoop
package import TLS

/// The bytes of a connection: as its socket carries them, or through TLS.
package final class ByteTransport {
  /// As much as is gathered before it is written.
  static let goodSize = 65_536

  /// The outcome of one read.
  package enum ReadResult {
    /// Bytes; those that came at the same time may be still to be read, unless `isAll`.
    case bytes(Int, isAll: Bool)
    case wouldBlock
    case closed
    case failed(String)
  }

  /// Why bytes cannot be written any more.
  package struct WriteError: Error, CustomStringConvertible {
    let reason: String
    package var description: String { reason }
  }

  private let socket: StreamSocket
  /// Nil if the peer is spoken to in plaintext.
  private let tls: TLSSession?
  /// What has to be agreed on in TLS (ALPN); nil for nothing.
  private let expectedProtocol: String?
  private var bytes = ByteQueue(keepsMemory: true)
  /// What TLS waits for on its own account, beside what its user does: it has frames of its own.
  private var readNeedsWriting = false
  private(set) var writeNeedsReading = false

  package init(_ socket: StreamSocket, tls: TLSSession?, expectedProtocol: String? = HTTP2Session.protocolName) {
    self.expectedProtocol = expectedProtocol
    self.socket = socket
    self.tls = tls
  }

  /// How the bytes are secured, in words.
  var security: String { tls.map { $0.version + ($0.isResumed ? ", resumed" : "") } ?? "plaintext" }

  // MARK: - The handshake

  package enum Handshake {
    case done
    case underWay
    case failed(String)
  }

  /// Goes on with the handshake of TLS, in which HTTP/2 has to be agreed on, where it is expected (RFC 9113, section
  /// 3.2).
  package func handshake() -> Handshake {
    guard let tls else { return .done }
    switch tls.handshake() {
    case .wantsReadable:
      socket.watch(.readable)
      return .underWay
    case .wantsWritable:
      socket.watch(.writable)
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
    switch socket.read(into: buffer) {
    case .bytes(let count): return .bytes(count, isAll: count < buffer.count)
    case .wouldBlock: return .wouldBlock
    case .closed: return .closed
    case .failed(let error): return .failed(error.description)
    }
  }

  private func read(into buffer: UnsafeMutableRawBufferPointer, from tls: TLSSession) -> ReadResult {
    readNeedsWriting = false
    switch tls.read(into: buffer) {
    // A record at a time.
    case .bytes(let count): return .bytes(count, isAll: false)
    case .wantsReadable: return .wouldBlock
    case .wantsWritable:
      readNeedsWriting = true
      socket.watch([.readable, .writable])
      return .wouldBlock
    case .closed: return .closed
    // gRPC has its own ends: whether TLS says goodbye makes no difference.
    case .failed(let error) where error.kind == .truncated: return .closed
    case .failed(let error): return .failed(error.description)
    }
  }

  // MARK: - Writing

  /// How many bytes wait to be written.
  var queued: Int { bytes.count }

  package func queue(_ more: UnsafeRawBufferPointer) { bytes.append(more) }

  /// Writes as much of what is queued as the socket takes.
  ///
  /// - Throws: ``WriteError``.
  package func send() throws {
    bytes.drop(try bytes.withUnsafeBytes { rest throws(WriteError) in try write(rest) })
  }

  private func write(_ rest: UnsafeRawBufferPointer) throws(WriteError) -> Int {
    if let tls { return try write(rest, to: tls) }
    do throws(LoopError) {
      return try socket.write(rest)
    } catch {
      throw WriteError(reason: error.description)
    }
  }

  /// Writes until the socket takes no more: TLS takes a record at a time.
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

  /// Waits for the socket as the last reads and writes want it.
  package func watch() {
    var events: SocketEvents = .readable
    if readNeedsWriting || (queued > 0 && !writeNeedsReading) { events.insert(.writable) }
    socket.watch(events)
  }
}
