import GrpcBridge
import HTTPServer

/// Answers with a file of the page `/docs`.
final class DocsHandler: RequestHandler {
  private let file: DocsFile?
  private let page: DocsPage?
  private unowned let exchange: Exchange

  /// - Parameters:
  ///   - file: nil for `/docs` itself, relative to which the page's links would be wrong.
  ///   - page: nil if there is none.
  init(_ file: DocsFile?, of page: DocsPage?, exchange: Exchange) {
    self.file = file
    self.page = page
    self.exchange = exchange
  }

  func receivedEnd() {
    guard let page else { return exchange.respond(absence) }
    guard let file else {
      // Relative, so that it also works behind a proxy that adds a prefix.
      return exchange.respond(.empty(308, headers: [("Location", "docs/")]))
    }
    do throws(RequestError) {
      let known = try TagCondition(exchange.head.ifNoneMatch, "If-None-Match")
      guard let content = page.content(of: file, takesGzip: exchange.takesGzip) else {
        return exchange.respond(absence)
      }
      var headers = PagePolicy.headers(allowing: PagePolicy.swagger)
      headers += [("ETag", EntityTag.text(content.version)), ("Cache-Control", "no-cache")]
      headers += Gzip.headers(isPacked: content.isCompressed)
      let status: UInt32 = known?.matchesWeakly(content.version) == true ? 304 : 200
      // For 304, with the head of the file.
      exchange.respond(status, contentType: file.contentType, constant: content.bytes, headers: headers)
    } catch {
      exchange.refuse(error)
    }
  }

  private var absence: HTTPResponse { .error(404, .notFound, "this gateway has no docs page (--docs)") }

  var needsAllowedHost: Bool { false }

  func clientIsGone() {}
}
