package import Logging
package import TLS

extension RenewableTLSContext {
  /// Makes what TLS connections of clients are made with, and logs what becomes of it.
  ///
  /// - Throws: `TLSError`, which says which file is no good.
  package convenience init(serving settings: TLSSettings, logger: Logger) throws(TLSError) {
    let files = settings.files.joined(separator: ", ")
    try self.init(settings) { context in
      // It is served all the same: clients that do not mind go on.
      if let fault = context.certificateFault { logger.warning("\(settings.certificate ?? ""): \(fault)") }
    } report: { look in
      switch look {
      case .unchanged: break
      case .renewed: logger.notice("new TLS connections use the new \(files)")
      case .failed(let error): logger.error("the old certificate stays in use: \(error)")
      }
    }
  }
}
