package import Logging
package import TLS

extension RenewableTLSContext {
  /// Makes the context for TLS connections of clients, and logs its renewals and faults.
  ///
  /// - Throws: `TLSError`, which names the faulty file.
  package convenience init(serving settings: TLSSettings, logger: Logger) throws(TLSError) {
    let files = settings.files.joined(separator: ", ")
    try self.init(settings) { context in
      // It is used all the same: some clients ignore the fault.
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
