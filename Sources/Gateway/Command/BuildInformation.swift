import CProgram
import FoundationEssentials

/// What this program is, and what it was built from.
extension EtcdRest {
  static let version = "0.1.0"

  /// The commit that it was built from, followed by `-dirty` if its files had changed since; nil if the linker got none
  /// (the Makefile passes it).
  static let commit: String? = {
    struct Metadata: Decodable {
      let commit: String
    }
    guard let metadata = program_metadata() else { return nil }
    return try? JSONDecoder().decode(Metadata.self, from: Data(String(cString: metadata).utf8)).commit
  }()

  static var platform: String {
    #if arch(x86_64)
      "Linux x86_64"
    #elseif arch(arm64)
      "Linux aarch64"
    #else
      "Linux"
    #endif
  }

  static var compiler: String {
    #if compiler(>=6.4)
      "Swift 6.4 or newer"
    #elseif compiler(>=6.3)
      "Swift 6.3"
    #else
      "Swift 6.2"
    #endif
  }
}
