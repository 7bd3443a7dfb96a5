package import Testing

/// Expects a status, and shows the whole answer if it is another.
package func expectStatus(_ status: Int, _ response: HTTPResponse, sourceLocation: SourceLocation = #_sourceLocation) {
  #expect(response.status == status, "\(response)", sourceLocation: sourceLocation)
}

/// Expects an error in the gateway's form.
package func expectError(
  _ response: HTTPResponse, _ status: Int, code: Int? = nil, message: String? = nil,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(response.status == status, "\(response)", sourceLocation: sourceLocation)
  #expect(response.message != nil, "\(response)", sourceLocation: sourceLocation)
  #expect((try? response.json)?["error"]?.string == response.message, "\(response)", sourceLocation: sourceLocation)
  if let code { #expect(response.code == code, "\(response)", sourceLocation: sourceLocation) }
  if let message { #expect(response.message == message, "\(response)", sourceLocation: sourceLocation) }
  #expect(response[header: "Content-Type"]?.hasPrefix("application/json") == true, sourceLocation: sourceLocation)
}

/// The challenges of an answer, in their order.
package func challenges(of response: HTTPResponse) -> [String] {
  response.head.headers.filter { $0.name.lowercased() == "www-authenticate" }.map(\.value)
}
