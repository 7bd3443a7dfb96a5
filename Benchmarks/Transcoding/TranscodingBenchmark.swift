import ByteBuffers
import EtcdSchema
import FoundationEssentials
import Glibc
import SwiftProtobuf
import Transcoding

/// Transcoding by itself, beside swift-protobuf's JSON: nanoseconds of CPU a message, in rounds.
///
/// ```
/// TranscodingBenchmark [--json] [ROUNDS]     measures everything (default: 5 rounds)
/// TranscodingBenchmark --count NAME TIMES    transcodes a message that many times, for callgrind to count
/// ```
///
/// *json* is swift-protobuf's JSON alone: from text to a message, or from a message to text. *both* also makes
/// protobuf's bytes of that message, or reads them, as a gateway would have to.
@main
enum TranscodingBenchmark {
  static func main() throws {
    let schema = try Schema(EtcdSchema().descriptors)  // the gateway's rules of requests are about no field here
    var arguments = CommandLine.arguments.dropFirst()
    if arguments.first == "--count" {
      arguments.removeFirst()
      guard let make = subjects.first(where: { $0.name == arguments.first })?.make, let last = arguments.last,
        let times = Int(last)
      else { throw Failure(description: "--count takes one of \(subjects.map(\.name)) and a number") }
      return try make(schema).ours(times)
    }
    let isJSON = arguments.first == "--json"
    if isJSON { arguments.removeFirst() }
    let made = try subjects.map { (name: $0.name, subject: try $0.make(schema)) }
    var results: [[String: [String: Double]]] = []
    for round in 0..<(arguments.first.flatMap { Int($0) } ?? 5) {
      results.append(try made.reduce(into: [:]) { $0[$1.name] = try $1.subject.measure(from: round) })
    }
    if isJSON {
      print(String(decoding: try JSONEncoder().encode(results), as: UTF8.self))
    } else {
      show(results)
    }
  }

  private static let mebibyte = 1 << 20

  private static let subjects: [(name: String, large: Int?, make: @Sendable (Schema) throws -> Subject)] = [
    ("put", nil, { try .request(put(value: text(16)), $0) }),
    ("txn", nil, { try .request(transaction(), $0) }),
    ("range", nil, { try .response(range(keys: 1, value: text(16)), $0) }),
    ("range100", nil, { try .response(range(keys: 100, value: text(100)), $0) }),
    ("put1m", mebibyte, { try .request(put(value: noise(mebibyte)), $0) }),
    ("range1m", mebibyte, { try .response(range(keys: 1, value: noise(mebibyte)), $0) }),
  ]

  private static func show(_ results: [[String: [String: Double]]]) {
    func median(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.sorted()[values.count / 2] }
    func shown(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
    for subject in subjects {
      let rounds = results.compactMap { $0[subject.name] }
      func ratio(_ peer: String) -> String {
        shown(median(rounds.map { $0[peer, default: 0] / $0["ours", default: 1] }))
      }
      let nanoseconds = median(rounds.compactMap { $0["ours"] })
      let rate = subject.large.map { ", \(shown(Double($0) / nanoseconds)) GB/s of its value" } ?? ""
      print(
        "\(subject.name): \(shown(nanoseconds)) ns\(rate); swift-protobuf's JSON takes \(ratio("json")) times as long, "
          + "and to or from bytes \(ratio("both")) times")
    }
  }
}

struct Failure: Error, CustomStringConvertible {
  let description: String
}

// MARK: - Messages

private func text(_ count: Int) -> Data { Data((0..<count).map { UInt8(ascii: "a") + UInt8($0 % 26) }) }

/// Bytes in which no branch predictor finds an order, the same ones in each run.
private func noise(_ count: Int) -> Data {
  var state: UInt64 = 1
  return Data(
    (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    })
}

private func put(key: Data = Data("many/123".utf8), value: Data) -> Etcdserverpb_PutRequest {
  .with {
    $0.key = key
    $0.value = value
  }
}

private func range(keys: Int, value: Data) -> Etcdserverpb_RangeResponse {
  .with {
    $0.header = .with {
      $0.clusterID = 14_841_639_068_965_178_418
      $0.memberID = 10_276_657_743_932_975_437
      $0.revision = 123_456
      $0.raftTerm = 7
    }
    $0.kvs = (0..<keys).map { number in
      .with {
        $0.key = Data("many/\(100 + number)".utf8)
        $0.createRevision = 1_000 + Int64(number)
        $0.modRevision = 123_000 + Int64(number)
        $0.version = 12
        $0.value = value
      }
    }
    $0.count = Int64(keys)
  }
}

private func transaction() -> Etcdserverpb_TxnRequest {
  .with {
    $0.compare = [
      .with {
        $0.result = .greater
        $0.target = .version
        $0.key = Data("many/123".utf8)
        $0.version = 3
      }
    ]
    $0.success = (0..<5).flatMap { number -> [Etcdserverpb_RequestOp] in
      let key = Data("many/\(100 + number)".utf8)
      return [
        .with { $0.requestPut = put(key: key, value: text(16)) }, .with { $0.requestRange = .with { $0.key = key } },
      ]
    }
  }
}

// MARK: - Measuring

/// A message that is transcoded again and again.
private struct Subject {
  /// Each transcodes it that many times.
  let ours: (Int) throws -> Void
  let json: (Int) throws -> Void
  let both: (Int) throws -> Void

  /// The nanoseconds a message of each, by name. They take turns, and `round` says which one begins.
  func measure(from round: Int) throws -> [String: Double] {
    let all = [("ours", ours), ("json", json), ("both", both)]
    var results: [String: Double] = [:]
    for turn in all.indices {
      let (name, run) = all[(turn + round) % all.count]
      var times = 1
      // Long enough for the clock, whatever a message takes.
      while try Self.nanoseconds(run, times) < 5_000_000 { times *= 2 }
      results[name] = try Self.nanoseconds(run, times * 8) / Double(times * 8)
    }
    return results
  }

  /// CPU of this thread: other programs may be at work on the same cores.
  private static func nanoseconds(_ run: (Int) throws -> Void, _ times: Int) throws -> Double {
    let start = now()
    try run(times)
    return now() - start
  }

  private static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }
}

/// The room for gRPC's prefix before a message.
private let headroom = 5

private let jsonOptions: JSONEncodingOptions = {
  var options = JSONEncodingOptions()
  options.preserveProtoFieldNames = true
  return options
}()

extension Subject {
  /// JSON to protobuf, as `RPCHandler` does it, but into a buffer that is kept: the gateway's goes to nghttp2.
  static func request<M: Message & Equatable>(_ message: M, _ schema: Schema) throws -> Subject {
    let type = try type(M.self, in: schema)
    let json: [UInt8] = try message.jsonUTF8Bytes(options: jsonOptions)
    let wire = try transcoded(json, as: type)
    guard try M(serializedBytes: wire) == message else { throw Failure(description: "another message than \(message)") }
    return Subject(
      ours: { times in
        var output = ByteBuffer()
        try json.withUnsafeBytes { json in
          for _ in 0..<times {
            output.removeAll(keepingCapacity: true)
            output.reserveCapacity(headroom + json.count)
            output.appendZeros(headroom)
            _ = try JSONToProtobuf.encode(json, as: type, strict: false, into: &output)
          }
        }
      },
      json: { times in
        for _ in 0..<times { _ = try M(jsonUTF8Bytes: json) }
      },
      both: { times in
        for _ in 0..<times { _ = try M(jsonUTF8Bytes: json).serializedBytes() as [UInt8] }
      })
  }

  private static func transcoded(_ json: [UInt8], as type: Schema.Message) throws -> [UInt8] {
    var output = ByteBuffer()
    try json.withUnsafeBytes { _ = try JSONToProtobuf.encode($0, as: type, strict: true, into: &output) }
    return output.withUnsafeBytes { Array($0) }
  }

  /// Protobuf to JSON, as `RPCHandler` does it, but into a buffer that is kept: the gateway's goes to libmicrohttpd.
  static func response<M: Message & Equatable>(_ message: M, _ schema: Schema) throws -> Subject {
    let type = try type(M.self, in: schema)
    let wire: [UInt8] = try message.serializedBytes()
    let text = try transcoded(wire, from: type)
    guard text == (try message.jsonUTF8Bytes(options: jsonOptions)) else {
      throw Failure(description: "other JSON than that of \(message)")
    }
    return Subject(
      ours: { times in
        var output = ByteBuffer()
        try wire.withUnsafeBytes { wire in
          for _ in 0..<times {
            output.removeAll(keepingCapacity: true)
            output.reserveCapacity(wire.count * 2 + 512)
            var transcoder = ProtobufToJSON(type)
            try transcoder.push(wire, into: &output)
            try transcoder.finish(into: &output)
          }
        }
      },
      json: { times in
        for _ in 0..<times { _ = try message.jsonUTF8Bytes(options: jsonOptions) as [UInt8] }
      },
      both: { times in
        for _ in 0..<times { _ = try M(serializedBytes: wire).jsonUTF8Bytes(options: jsonOptions) as [UInt8] }
      })
  }

  private static func transcoded(_ wire: [UInt8], from type: Schema.Message) throws -> [UInt8] {
    var output = ByteBuffer()
    var transcoder = ProtobufToJSON(type)
    try wire.withUnsafeBytes { try transcoder.push($0, into: &output) }
    try transcoder.finish(into: &output)
    return output.withUnsafeBytes { Array($0) }
  }

  private static func type<M: Message>(_: M.Type, in schema: Schema) throws -> Schema.Message {
    guard let type = schema.message(M.protoMessageName) else { throw Failure(description: "no \(M.protoMessageName)") }
    return type
  }
}
