import EventLoop
import Glibc

/// The file of a Unix socket on which the gateway listens (unix(7)).
///
/// Its mode is the umask's: a process that may write to the file may connect.
struct UnixSocketFile: Sendable {
  private let path: String
  // Which file it was, as another process may have put another in its place.
  private let device: dev_t
  private let inode: ino_t

  /// Makes a socket's file, in place of one that no process serves, as a process that was killed leaves it behind.
  ///
  /// - Throws: ``ListenFailure`` if a process serves it, if it is no socket, or if it cannot be made.
  static func listen(_ path: String, as address: ListenAddress) throws(ListenFailure) -> (UnixSocketFile, Int32) {
    guard let name = SocketAddress(unixPath: path) else { throw ListenFailure(address, "the path is too long") }
    // While this is held no other gateway takes the file for one that no process serves.
    let folder = open(String(path[...path.lastIndex(of: "/")!]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 { flock(folder, LOCK_EX) }
    defer { if folder >= 0 { close(folder) } }
    var status = stat()
    if lstat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFSOCK else {
        throw ListenFailure(address, "the file exists and is not a socket")
      }
      guard try !isServed(name, address) else { throw ListenFailure(address, "another process serves this socket") }
      unlink(path)
    }
    let descriptor = try makeSocket(address)
    guard name.withPointer({ bind(descriptor, $0, $1) }) == 0, lstat(path, &status) == 0,
      Glibc.listen(descriptor, Acceptor.backlog) == 0
    else {
      let failure = ListenFailure(address, code: errno)
      close(descriptor)
      throw failure
    }
    return (UnixSocketFile(path: path, device: status.st_dev, inode: status.st_ino), descriptor)
  }

  /// Removes the file, unless it is no longer the one that was made.
  func remove() {
    var status = stat()
    if lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode { unlink(path) }
  }

  private static func isServed(_ name: SocketAddress, _ address: ListenAddress) throws(ListenFailure) -> Bool {
    let descriptor = try makeSocket(address)
    defer { close(descriptor) }
    // A socket that is served but busy says so (EAGAIN); one that we may not use is another user's (EACCES).
    return name.withPointer({ connect(descriptor, $0, $1) }) == 0 || errno != ECONNREFUSED
  }

  private static func makeSocket(_ address: ListenAddress) throws(ListenFailure) -> Int32 {
    let descriptor = socket(AF_UNIX, SocketConstants.nonBlockingStream, 0)
    guard descriptor >= 0 else { throw ListenFailure(address, code: errno) }
    return descriptor
  }
}
