import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Expects an error in the gateway's form, whose message has certain words.
func expectError(
  _ response: HTTPResponse, _ status: Int, code: Int, _ words: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  TestSupport.expectError(response, status, code: code, sourceLocation: sourceLocation)
  #expect(response[header: "Content-Type"] == "application/json", sourceLocation: sourceLocation)
  #expect(
    words.isEmpty || response.message?.contains(words) == true, "\(response)", sourceLocation: sourceLocation)
}

extension Etcdserverpb_RangeResponse {
  /// The answer to a read of a key that exists, at revision 7.
  static func found(_ key: Data, _ value: String) -> Self {
    .with {
      $0.header.revision = 7
      $0.kvs = [.found(key, value)]
      $0.count = 1
    }
  }
}

extension Mvccpb_KeyValue {
  static func found(_ key: Data, _ value: String) -> Self {
    .with {
      $0.key = key
      $0.createRevision = 4
      $0.modRevision = 5
      $0.version = 2
      $0.value = Data(value.utf8)
    }
  }
}
