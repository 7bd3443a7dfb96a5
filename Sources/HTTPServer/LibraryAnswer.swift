import ByteBuffers
internal import CMicrohttpd
import EventLoop
import Glibc

/// An error that libmicrohttpd is about to answer by itself, as a page of HTML; version 0.9.75 with two heads if the
/// fault is in `Content-Length`. libmicrohttpd logs the error first, so that the gateway can send its own answer
/// instead.
struct LibraryAnswer {
  let status: UInt32
  /// The number from which an ID is made if the request has none.
  let number: UInt64

  /// Answers a request whose head is complete in libmicrohttpd's place, and ends the connection: what libmicrohttpd
  /// sends after that goes nowhere.
  func send(to client: ClientConnection, of service: any HTTPService) {
    let id = RequestID(client.connection.flatMap { firstHeader("X-Request-Id", of: $0)?.trimmed }, orMadeOf: number)
      .text
    let answer = BareAnswer(
      service.response(to: RequestError(status, message(for: client))), headers: "X-Request-Id: \(id)\r\n")
    let descriptor = client.descriptor
    answer.bytes.withUnsafeBytes {
      _ = Glibc.send(descriptor, $0.baseAddress, $0.count, SocketConstants.noSignal | SocketConstants.dontWait)
    }
    shutdown(descriptor, SocketConstants.shutWrites)
  }

  /// The fault in the words of ``HeadCheck``.
  private func message(for client: ClientConnection) -> String {
    if status == 431 { return "the request's headers are too large" }
    // The request line no longer exists, and is not what the fault is about.
    func text(_ text: StaticString) -> HeadBytes { HeadBytes(start: text.utf8Start, count: text.utf8CodeUnitCount) }
    var check = HeadCheck(method: text("GET"), target: text("/"), version: text("HTTP/1.1"), lineEnds: nil)
    withUnsafeMutablePointer(to: &check) { check in
      _ = MHD_get_connection_values_n(
        client.connection, .HEADER_KIND,
        { check, _, name, nameSize, value, valueSize in
          check?.assumingMemoryBound(to: HeadCheck.self).pointee.take(
            name: HeadBytes(name, nameSize), value: HeadBytes(value, valueSize))
          return .YES
        }, check)
    }
    check.finish(end: text("").baseAddress!)
    return check.fault ?? "the head of the request is malformed"
  }
}

/// The first header of that name, as it was sent.
func firstHeader(_ name: String, of connection: OpaquePointer) -> HeadBytes? {
  var value: UnsafePointer<CChar>?
  var size = 0
  guard MHD_lookup_connection_value_n(connection, .HEADER_KIND, name, name.utf8.count, &value, &size) == .YES
  else { return nil }
  return HeadBytes(value, size)
}

extension HeadBytes {
  init(_ start: UnsafePointer<CChar>?, _ count: Int) {
    self = UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count).bindMemory(to: UInt8.self)
  }
}
