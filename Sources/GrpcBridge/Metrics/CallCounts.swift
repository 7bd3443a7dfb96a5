import EventLoop
import Synchronization

/// The calls to one member over one channel, by RPC and gRPC code. Belongs to the channel's loop.
final class CallCounts {
  /// The index in a row at which the counters of durations begin, after those of the codes.
  private static var durations: Int { 17 }

  private var rows = CounterRows(width: CallCounts.durations + Durations.width)
  /// How many connections were begun, and how many failed or ended unintendedly.
  var connects: UInt64 = 0
  var failures: UInt64 = 0

  /// Counts a call that has ended at the member, or was ended there.
  ///
  /// - Parameter nanoseconds: how long it took; nil for a stream, whose duration is up to its client.
  func count(_ method: CallMethod, _ code: GRPCCode, nanoseconds: UInt64?) {
    let row = rows.row(method.number)
    row[code.rawValue] &+= 1
    if let nanoseconds { Durations.count(nanoseconds, in: row + Self.durations) }
  }

  /// The counters of one member.
  func sample(of endpoint: String) -> [CallSample] {
    let names = CallNames.all
    return rows.all.map { index, counters in
      let codes = GRPCCode.allCases.compactMap { code in
        counters[code.rawValue] > 0 ? (code: code, count: counters[code.rawValue]) : nil
      }
      return CallSample(
        endpoint: endpoint, method: names[index], codes: codes, durations: Durations(counters[Self.durations...]))
    }
  }
}

/// The calls of one RPC to one member.
package struct CallSample: Sendable {
  package let endpoint: String
  /// The path of the RPC, such as `/etcdserverpb.KV/Range`.
  package let method: String
  package let codes: [(code: GRPCCode, count: UInt64)]
  /// The durations of unary calls; those of streams are not counted.
  package let durations: Durations
}

/// Numbers the RPCs of the process: those of etcd's API and the few others that the code names.
enum CallNames {
  private static let names = Mutex<[String]>([])

  /// The number of an RPC, by its path.
  static func number(of path: String) -> Int {
    names.withLock { names in
      if let known = names.firstIndex(of: path) { return known }
      names.append(path)
      return names.count - 1
    }
  }

  static var all: [String] { names.withLock { $0 } }
}
