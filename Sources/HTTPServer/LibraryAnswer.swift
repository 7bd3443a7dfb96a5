import ByteBuffers
internal import CMicrohttpd
import EventLoop
import Glibc

/// An error that libmicrohttpd is about to answer by itself, as a page of HTML; version 0.9.75 with two heads if the
/// fault is in `Content-Length`. Its log is told before, so that the answer can be ours.
struct LibraryAnswer {
  let status: UInt32
  /// What the ID of the request is made of, if it has none.
  let number: UInt64

  /// Answers in libmicrohttpd's place a request whose head is whole, and ends the connection: what libmicrohttpd sends
  /// after that goes nowhere.
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

  /// What is wrong, as ``HeadCheck`` has it.
  private func message(for client: ClientConnection) -> String {
    if status == 431 { return "the request's headers are too large" }
    // The request line is not to be had any more, nor is it what this is about.
    func text(_ text: StaticString) -> HeadBytes { HeadBytes(start: text.utf8Start, count: text.utf8CodeUnitCount) }
    var check = HeadCheck(method: text("GET"), target: text("/"), version: text("HTTP/1.1"), isLax: false)
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
