import EventLoop
import Glibc

/// A client's address without its port, as text; of an IPv6 address the part that is a customer's own (RFC 6177), as within
/// it anybody has any number of addresses. All clients of Unix sockets have one name.
func peerName(_ address: UnsafePointer<sockaddr>) -> String {
  var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
  switch Int32(address.pointee.sa_family) {
  case AF_INET:
    address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      var host = $0.pointee.sin_addr
      inet_ntop(AF_INET, &host, &text, socklen_t(text.count))
    }
  case AF_INET6:
    address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
      var host = $0.pointee.sin6_addr
      withUnsafeMutableBytes(of: &host) { bytes in
        for index in 8..<16 { bytes[index] = 0 }
      }
      inet_ntop(AF_INET6, &host, &text, socklen_t(text.count))
    }
  default:
    return "local"
  }
  return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

func peerName(_ address: SocketAddress) -> String { address.withPointer { pointer, _ in peerName(pointer) } }
