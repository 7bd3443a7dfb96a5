import ArgumentParser
import Logging

/// Whether there is a page `/docs`, and where its files are.
enum DocsOption: ExpressibleByArgument {
  case on
  case off
  case folder(String)

  init?(argument: String) {
    switch argument {
    case "": return nil
    case "on": self = .on
    case "off": self = .off
    default: self = .folder(argument)
    }
  }

  /// The folder to serve the page from; nil where there is no page.
  ///
  /// A program may well have been installed without the page, so that only a folder that was asked for has to be there.
  /// - Throws: `ValidationError` that names the file that is missing in that.
  func folder(logger: Logger) throws -> DocsFolder? {
    switch self {
    case .off:
      return nil
    case .folder(let path):
      let folder = DocsFolder(path: path)
      if let file = folder.missingFile { throw ValidationError("--docs: \(file) is not there or cannot be read") }
      return folder
    case .on:
      let folder = DocsFolder.ofProgram
      guard let file = folder.missingFile else { return folder }
      logger.notice("there is no page /docs", metadata: ["missing": "\(file)"])
      return nil
    }
  }
}
