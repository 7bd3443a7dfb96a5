import ByteBuffers
import EtcdSchema
import GrpcBridge
import Transcoding

/// The state of the gateway and of etcd, now and in the last minutes: shown by the status page and `/status`.
struct StatusReport {
  struct Member {
    /// Empty if it is unknown.
    var name = ""
    /// In hexadecimal digits, as in etcdctl; empty if it is unknown.
    var id = ""
    var endpoints: [String] = []
    var isLeader = false
    var isLearner = false
    /// The state of the gateway's connection to it; nil if it has none.
    var connection: String?
  }

  /// The numbers of the time between two moments.
  struct Span {
    let requestsPerSecond: Double
    let errorsPerSecond: Double
    let loginsPerSecond: Double
    /// How many streams there were at its end.
    let streams: Double
    let watches: Double
    /// In seconds; nil if there was no request.
    let median: Double?
    let slowest: Double?
  }

  /// Why etcd is unhealthy; nil if it is healthy.
  let complaint: String?
  private let status: Etcdserverpb_StatusResponse?
  let members: [Member]
  let now: StatusHistory.Moment?
  let spans: [Span]

  /// - Parameters:
  ///   - status: a member's answer to `Status`; nil if there is none.
  ///   - list: etcd's list of members; nil if there is none.
  ///   - links: the connections for calls.
  init(
    complaint: String?, status: Etcdserverpb_StatusResponse?, members list: Etcdserverpb_MemberListResponse?,
    links: [ChannelSample.Link], moments: [StatusHistory.Moment]
  ) {
    self.complaint = complaint
    self.status = status
    now = moments.last
    spans = zip(moments, moments.dropFirst()).map { Span(from: $0, to: $1) }
    guard let list, !list.members.isEmpty else {
      members = links.map { Member(endpoints: [$0.endpoint], connection: $0.state) }
      return
    }
    members = list.members.sorted { $0.name < $1.name }.map { member in
      Member(
        name: member.name, id: String(member.id, radix: 16), endpoints: member.clientUrls,
        isLeader: member.id == status?.leader && member.id != 0, isLearner: member.isLearner,
        connection: links.first { link in member.clientUrls.contains { $0.isEndpoint(link.endpoint) } }?.state)
    }
  }

  /// etcd's version; empty if it is unknown.
  var etcdVersion: String { status?.version ?? "" }

  /// The leader's name, or its ID if it has no name; nil if there is none or it is unknown.
  var leader: String? {
    guard let status, status.leader != 0 else { return nil }
    let name = members.first(where: \.isLeader)?.name ?? ""
    return name.isEmpty ? String(status.leader, radix: 16) : name
  }

  /// The size of the database, in bytes; nil if it is unknown.
  var databaseBytes: Int64? { status?.dbSize }
}

extension StatusReport.Span {
  fileprivate init(from start: StatusHistory.Moment, to end: StatusHistory.Moment) {
    let seconds = max(Double(end.time &- start.time) / 1e9, 0.001)
    let counts = zip(start.durations.counts, end.durations.counts).map { $1 &- $0 }
    requestsPerSecond = Double(counts.reduce(0, &+)) / seconds
    errorsPerSecond = max(0, end.errors - start.errors) / seconds
    loginsPerSecond = max(0, end.logins - start.logins) / seconds
    streams = end.streams
    watches = end.watches
    median = Self.quantile(0.5, of: counts)
    slowest = Self.quantile(0.99, of: counts)
  }

  /// As in Prometheus's `histogram_quantile`: values are spread evenly within a bucket; beyond the last bound, the
  /// result is that bound.
  static func quantile(_ part: Double, of counts: [UInt64]) -> Double? {
    let rank = part * Double(counts.reduce(0, &+))
    guard rank > 0 else { return nil }
    var below = 0.0
    var lower = 0.0
    for (count, upper) in zip(counts, Durations.bounds) {
      let here = Double(count)
      if below + here >= rank { return lower + (upper - lower) * (rank - below) / here }
      below += here
      lower = upper
    }
    return lower
  }
}

extension String {
  /// Whether this is the URL of an endpoint, which metrics have without its scheme.
  fileprivate func isEndpoint(_ label: String) -> Bool { self == label || hasSuffix("://\(label)") }
}

// MARK: - As JSON

extension StatusReport {
  func json() -> ByteBuffer {
    var json = ByteBuffer()
    json.append("{\"gateway\":")
    json.appendJSONString(EtcdRest.version)
    json.add(",\"healthy\":\(complaint == nil),\"reason\":")
    json.appendJSONString(complaint ?? "")
    json.append(",\"etcd\":{\"version\":")
    json.appendJSONString(etcdVersion)
    json.append(",\"leader\":")
    json.appendJSONString(leader ?? "")
    json.add(",\"db_size\":\"\(databaseBytes ?? 0)\"},\"members\":[")
    for (index, member) in members.enumerated() {
      json.add("\(index == 0 ? "" : ","){\"name\":")
      json.appendJSONString(member.name)
      json.append(",\"id\":")
      json.appendJSONString(member.id)
      json.append(",\"endpoints\":[")
      for (index, endpoint) in member.endpoints.enumerated() {
        if index > 0 { json.append(",") }
        json.appendJSONString(endpoint)
      }
      json.add("],\"leader\":\(member.isLeader),\"learner\":\(member.isLearner),\"connection\":")
      json.appendJSONString(member.connection ?? "none")
      json.append("}")
    }
    json.append("],\"clients\":{")
    let counts = now.map {
      [("connections", $0.connections), ("streams", $0.streams), ("watches", $0.watches), ("users", $0.tokens)]
    }
    json.add((counts ?? []).map { "\"\($0)\":\(Int64($1))" }.joined(separator: ","))
    json.add("},\"interval\":\(StatusHistory.interval / 1000),\"history\":[")
    for (index, span) in spans.enumerated() {
      let numbers: [(String, Double?)] = [
        ("requests_per_second", span.requestsPerSecond), ("errors_per_second", span.errorsPerSecond),
        ("logins_per_second", span.loginsPerSecond), ("streams", span.streams), ("watches", span.watches),
        ("median_seconds", span.median), ("p99_seconds", span.slowest),
      ]
      let fields = numbers.compactMap { name, number in number.map { "\"\(name)\":\(Self.short($0))" } }
      json.add("\(index == 0 ? "" : ","){\(fields.joined(separator: ","))}")
    }
    json.append("]}")
    return json
  }

  /// Rounded to a millionth.
  private static func short(_ number: Double) -> String { "\((number * 1e6).rounded() / 1e6)" }
}

extension ByteBuffer {
  fileprivate mutating func add(_ text: String) { append(text.utf8) }
}
