import ArgumentParser
import Logging

/// Whether there is a page `/docs`, and the folder of its files.
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

  /// Reads the page from its folder; nil if there is none.
  ///
  /// A program may be installed without the page, so the folder must exist only if the user has named it.
  /// - Throws: `ValidationError` that names the missing file.
  func page(logger: Logger) throws -> DocsPage? {
    switch self {
    case .off:
      return nil
    case .folder(let path):
      do throws(DocsPage.MissingFile) {
        return try DocsPage(folder: path)
      } catch {
        throw ValidationError("--docs: \(error.path) does not exist or cannot be read")
      }
    case .on:
      do throws(DocsPage.MissingFile) {
        return try DocsPage(folder: DocsPage.folderOfProgram)
      } catch {
        logger.notice("the page /docs is not served", metadata: ["missing": "\(error.path)"])
        return nil
      }
    }
  }
}
