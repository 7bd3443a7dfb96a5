import EventLoop
import Glibc

/// Listening sockets that were opened before the process started, as systemd does by socket units (sd_listen_fds(3)):
/// by name, from descriptor 3 on.
///
/// They outlive the process: connections that come in while none runs wait for the next one.
package struct GivenSockets {
  /// Further ones are ignored.
  private static let most = 1024
  private static let first: Int32 = 3

  private let descriptors: [String: [Int32]]

  /// - Parameter environment: the environment that systemd has set, by name.
  init(environment: (String) -> String? = { getenv($0).map { String(cString: $0) } }) {
    // A variable that was inherited from a parent process describes that process's descriptors.
    guard environment("LISTEN_PID") == "\(getpid())", let count = environment("LISTEN_FDS").flatMap({ Int32($0) }),
      (1...Int32(Self.most)).contains(count)
    else {
      descriptors = [:]
      return
    }
    let names = (environment("LISTEN_FDNAMES") ?? "").split(separator: ":", omittingEmptySubsequences: false)
    var descriptors: [String: [Int32]] = [:]
    for (index, descriptor) in (Self.first..<Self.first + count).enumerated() {
      let name = index < names.count ? String(names[index]) : ""
      descriptors[name.isEmpty ? "unknown" : name, default: []].append(descriptor)
    }
    self.descriptors = descriptors
  }

  /// The sockets with a name, ready to accept connections.
  ///
  /// - Throws: ``ListenFailure`` if there is none, or if one is no listening socket.
  func sockets(named name: String, as address: ListenAddress) throws(ListenFailure) -> [Int32] {
    guard let found = descriptors[name] else {
      let names = descriptors.keys.sorted().joined(separator: ", ")
      throw ListenFailure(
        address,
        names.isEmpty
          ? "systemd has passed no sockets: fd:// needs a socket unit"
          : "systemd has passed no socket of this name, only: \(names)")
    }
    for descriptor in found {
      guard Self.option(SO_ACCEPTCONN, of: descriptor) == 1,
        Self.option(SO_TYPE, of: descriptor) == SocketConstants.stream
      else { throw ListenFailure(address, "descriptor \(descriptor) is not a listening stream socket") }
      _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
      noticeVanishedPeer(descriptor)
    }
    return found
  }

  private static func option(_ option: Int32, of descriptor: Int32) -> Int32? {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout.size(ofValue: value))
    return getsockopt(descriptor, SOL_SOCKET, option, &value, &length) == 0 ? value : nil
  }
}
