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

  /// The page, read from its folder; nil if there is none.
  ///
  /// A program may well have been installed without the page, so that only a folder that was asked for has to be there.
  /// - Throws: `ValidationError` that names the file that is missing in that.
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
