internal import CLibuv
import Glibc

/// The constants of socket(2), send(2), recv(2), shutdown(2) and setsockopt(2) that glibc declares as the cases of
/// enums.
///
/// Clang assigns each of those to the first C module that includes its header, and Swift finds it only in a file that
/// imports this very module. Which module is first depends on the files that are compiled together. So they are named
/// only here, where every module that can be first is imported.
package enum SocketConstants {
  package static var stream: Int32 { Int32(SOCK_STREAM.rawValue) }
  package static var closeOnExec: Int32 { Int32(SOCK_CLOEXEC.rawValue) }
  /// A non-blocking stream that no child process inherits.
  package static var nonBlockingStream: Int32 { stream | closeOnExec | Int32(SOCK_NONBLOCK.rawValue) }

  /// Datagrams, from a socket that no child process inherits.
  package static var datagram: Int32 { Int32(SOCK_DGRAM.rawValue) | closeOnExec }

  package static var noSignal: Int32 { Int32(MSG_NOSIGNAL) }
  package static var peek: Int32 { Int32(MSG_PEEK) }
  package static var dontWait: Int32 { Int32(MSG_DONTWAIT) }

  package static var shutWrites: Int32 { Int32(SHUT_WR) }
  package static var shutBoth: Int32 { Int32(SHUT_RDWR) }

  package static var tcp: Int32 { Int32(IPPROTO_TCP) }
  package static var ipv6: Int32 { Int32(IPPROTO_IPV6) }
}
