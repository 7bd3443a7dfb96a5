import EventLoop
import Glibc

/// The file of a Unix socket on which the gateway listens (unix(7)).
///
/// Its mode follows the umask: a process that may write to the file may connect.
struct UnixSocketFile: Sendable {
  private let path: String
  // Identify the file, as another process may have replaced it.
  private let device: dev_t
  private let inode: ino_t

  /// Makes a socket's file. It replaces a file that no process serves, as a killed process leaves it behind.
  ///
  /// - Throws: ``ListenFailure`` if a process serves the file, if it is no socket, or if it cannot be made.
  static func listen(_ path: String, as address: ListenAddress) throws(ListenFailure) -> (UnixSocketFile, Int32) {
    guard let name = SocketAddress(unixPath: path) else { throw ListenFailure(address, "the path is too long") }
    // While this lock is held, no other gateway takes the file for one that no process serves.
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

  /// Removes the file, unless it has been replaced.
  func remove() {
    var status = stat()
    if lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode { unlink(path) }
  }

  private static func isServed(_ name: SocketAddress, _ address: ListenAddress) throws(ListenFailure) -> Bool {
    let descriptor = try makeSocket(address)
    defer { close(descriptor) }
    // If a socket is served but busy, the result is EAGAIN; if it belongs to another user, EACCES.
    return name.withPointer({ connect(descriptor, $0, $1) }) == 0 || errno != ECONNREFUSED
  }

  private static func makeSocket(_ address: ListenAddress) throws(ListenFailure) -> Int32 {
    let descriptor = socket(AF_UNIX, SocketConstants.nonBlockingStream, 0)
    guard descriptor >= 0 else { throw ListenFailure(address, code: errno) }
    return descriptor
  }
}
