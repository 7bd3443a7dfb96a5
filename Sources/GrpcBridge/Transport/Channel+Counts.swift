import EventLoop

extension Channel {
  /// How many endpoints have counts of their own: a cluster whose members come and go may have any number of endpoints.
  private static let maxEndpoints = 64

  /// The counts of the calls to a member. They are kept while the member is gone.
  func counts(of endpoint: Endpoint) -> CallCounts {
    if let known = counts[endpoint] { return known }
    guard counts.count < Self.maxEndpoints else { return otherCounts }
    let new = CallCounts()
    counts[endpoint] = new
    return new
  }

  /// Counts the end of `call` at the member that has it, if any has.
  func count(_ call: Call, _ code: GRPCCode) {
    if let connection = call.stream.connection { count(call, code, at: connection.subchannel) }
  }

  func count(_ call: Call, _ code: GRPCCode, at subchannel: Subchannel) {
    guard call.sentAt > 0 else { return }
    let start = call.sentAt
    let time = preciseTime &- start
    call.sentAt = 0
    call.caller.trace?.ended(call, code, since: start, for: time, at: subchannel.endpoint)
    call.batch?.ended(code, since: start, for: time, at: subchannel.endpoint)
    subchannel.counts.count(call.method, code, nanoseconds: call.method.isStream ? nil : time)
  }

  /// The channel's numbers for the metrics.
  var sample: ChannelSample {
    var sample = ChannelSample()
    let all = counts.map { ($0.key.authority, $0.value) } + [("other", otherCounts)]
    for (name, counts) in all where name != "other" || counts.connects > 0 {
      sample.calls += counts.sample(of: name)
      sample.dials.append(.init(endpoint: name, connects: counts.connects, failures: counts.failures))
    }
    for subchannel in subchannels + retired {
      let name = subchannel.endpoint.authority
      sample.links.append(.init(endpoint: name, state: subchannel.connection.map { "\($0.state)" } ?? "idle"))
      for _ in subchannel.draining { sample.links.append(.init(endpoint: name, state: "draining")) }
    }
    sample.callsUnderWay = callCount
    sample.repeats = repeats
    sample.unsent = unsent
    return sample
  }
}
