import FoundationEssentials

/// The part of an export that a collector has rejected in a successful answer (OpenTelemetry protocol,
/// `ExportTracePartialSuccess`).
struct ExportRefusal: Equatable {
  /// How many spans it has rejected.
  private(set) var rejected = 0
  /// The beginning of its reason.
  private(set) var reason = ""

  private static let longestReason = 200

  /// Reads the body of the answer, whatever it is: anything except an `ExportTraceServiceResponse` in JSON counts as no
  /// rejection.
  init(_ body: [UInt8]) {
    struct Answer: Decodable {
      struct PartialSuccess: Decodable {
        enum CodingKeys: CodingKey {
          case rejectedSpans
          case errorMessage
        }
        let rejectedSpans: Int64
        let errorMessage: String?

        init(from decoder: any Decoder) throws {
          let container = try decoder.container(keyedBy: CodingKeys.self)
          errorMessage = try container.decodeIfPresent(String.self, forKey: .errorMessage)
          // A 64-bit integer is a string in JSON, but a number is accepted as well (protobuf, "ProtoJSON Format").
          if let text = try? container.decode(String.self, forKey: .rejectedSpans) {
            rejectedSpans = Int64(text) ?? 0
          } else {
            rejectedSpans = try container.decodeIfPresent(Int64.self, forKey: .rejectedSpans) ?? 0
          }
        }
      }
      let partialSuccess: PartialSuccess?
    }
    guard let partial = (try? JSONDecoder().decode(Answer.self, from: Data(body)))?.partialSuccess else { return }
    rejected = Int(clamping: partial.rejectedSpans)
    reason = String((partial.errorMessage ?? "").prefix(Self.longestReason))
  }
}
