import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// The results of an import, for its answer.
struct KeyImportReport {
  /// Why a line was not put.
  struct Fault {
    let place: BodyLines.Place
    /// How many bytes of the body precede the fault.
    let byte: Int
    let status: UInt32
    let code: GRPCCode
    let message: String
    var headers: HTTPResponse.Headers = []
  }

  /// How many faults are listed if faulty lines are skipped.
  private static let maxTold = 10

  /// How many lines, and how many bytes of the body, were put.
  private var keys = 0
  private var bytes = 0
  /// How many of them may have been put twice, because it was unknown whether they had been put.
  private var repeated = 0
  /// The highest revision in etcd's answers.
  private(set) var revision: Int64 = 0
  private var faultCount = 0
  private var firstFaults: [Fault] = []

  /// Lines were put.
  mutating func put(_ count: Int, bytes: Int, revision: Int64, wasRepeated: Bool) {
    keys += count
    self.bytes += bytes
    if wasRepeated { repeated += count }
    self.revision = max(self.revision, revision)
  }

  /// A line was skipped. Lines come nearly in order, but not always.
  mutating func skipped(_ fault: Fault) {
    faultCount += 1
    let index = firstFaults.firstIndex { $0.place.number > fault.place.number } ?? firstFaults.count
    firstFaults.insert(fault, at: index)
    if firstFaults.count > Self.maxTold { firstFaults.removeLast() }
  }

  // MARK: - As JSON

  private func appendCounts(to json: inout ByteBuffer) {
    json.append("\"keys\":")
    json.append(decimal: Int64(keys))
    json.append(",\"bytes\":")
    json.append(decimal: Int64(bytes))
    json.append(",\"revision\":")
    json.append(decimal: revision)
    if repeated > 0 {
      json.append(",\"repeated\":")
      json.append(decimal: Int64(repeated))
    }
    guard faultCount > 0 else { return }
    json.append(",\"errors\":")
    json.append(decimal: Int64(faultCount))
    json.append(",\"first_errors\":[")
    for (index, fault) in firstFaults.enumerated() {
      if index > 0 { json.append(",") }
      json.appendError(fault.code, fault.message) { Self.append(fault, to: &$0) }
    }
    json.append("]")
  }

  private static func append(_ fault: Fault, to json: inout ByteBuffer) {
    json.append(",\"line\":")
    json.append(decimal: Int64(fault.place.number))
    json.append(",\"byte\":")
    json.append(decimal: Int64(fault.byte))
  }

  /// A line that reports progress.
  func appendLine(to json: inout ByteBuffer) {
    json.append("{")
    appendCounts(to: &json)
    json.append("}\n")
  }

  /// The last line of a complete import.
  func appendLast(to json: inout ByteBuffer) {
    json.append("{")
    appendCounts(to: &json)
    json.append(",\"done\":true}\n")
  }

  /// The members of the error that ends an import, besides those of all errors.
  func append(_ fault: Fault, to json: inout ByteBuffer) {
    Self.append(fault, to: &json)
    json.append(",")
    appendCounts(to: &json)
  }
}
