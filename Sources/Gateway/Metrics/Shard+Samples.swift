import GrpcBridge

extension Shard {
  /// The counters of the shard.
  ///
  /// - Parameters:
  ///   - number: the shard's index.
  ///   - lag: how long it took the loop to reach the question, in nanoseconds.
  func samples(number: Int, lag: UInt64) -> MetricSamples {
    var samples = MetricSamples()
    let shard: MetricSamples.Labels = ["shard": "\(number)"]
    samples.add(.loopLag, shard, Double(lag) / 1e9)
    samples.add(.memoryKept, shard, memory.used)
    journal.add(to: &samples)
    addConnections(to: &samples, shard)
    samples.add(bridge.sample)
    return samples
  }
}

extension MetricSamples {
  init(_ sample: AuthenticatorSample) {
    let logins = sample.logins
    add(.loginRequests, logins.asked)
    add(.loginRenewals, logins.renewed)
    add(.logins, ["result": "granted"], logins.granted)
    add(.logins, ["result": "refused"], logins.refused)
    add(.logins, ["result": "throttled"], logins.throttled)
    add(.logins, ["result": "failed"], logins.failed)
    add(.logins, ["result": "cached"], logins.cached)
    add(.logins, ["result": "shared"], logins.shared)
    add(.logins, ["result": "remembered"], logins.remembered)
    add(.loginsInFlight, sample.loginsUnderWay)
    add(.loginsWaiting, sample.loginsWaiting)
    add(.tokens, sample.tokens)
    add(sample.channel, "logins")
  }

  mutating func add(_ spans: SpanQueue.Counts) {
    add(.exportedSpans, spans.exported)
    add(.droppedSpans, ["reason": "overflow"], spans.overflowed)
    add(.droppedSpans, ["reason": "unsent"], spans.unsent)
    add(.droppedSpans, ["reason": "rejected"], spans.rejected)
    add(.spanExports, ["result": "done"], spans.doneExports)
    add(.spanExports, ["result": "failed"], spans.failedExports)
  }

  mutating func add(_ sample: BridgeSample) {
    for (kind, channel) in sample.channels { add(channel, kind) }
    add(.tokenLookups, ["result": "known"], sample.users.known)
    add(.tokenLookups, ["result": "awaited"], sample.users.awaited)
    add(.tokenLookups, ["result": "renewed"], sample.users.renewed)
    add(.readBatches, sample.batches.batches)
    add(.batchedReads, sample.batches.batchedReads)
    add(.sharedReads, sample.batches.sharedReads)
    add(.repeatedReads, sample.batches.repeatedReads)
    add(.watches, sample.watches)
    add(.upstreamWatchers, sample.watchers)
    add(.eventsReceived, sample.watchCounts.received)
    add(.eventsDelivered, sample.watchCounts.delivered)
    add(.watchResumes, sample.watchCounts.resumed)
    add(.leaseKeepalives, sample.keepalives)
    add(.leaseStreams, sample.leaseStreams)
  }

  /// - Parameter use: the purpose of the channel: `calls`, `streams` or `logins`.
  private mutating func add(_ channel: ChannelSample, _ use: String) {
    for call in channel.calls {
      // As in gRPC's own metrics, without the leading slash.
      let rpc = String(call.method.dropFirst())
      for (code, count) in call.codes {
        add(.calls, ["rpc": rpc, "code": code.label, "endpoint": call.endpoint], count)
      }
      if call.durations.count > 0 { add(.callDuration, ["rpc": rpc, "endpoint": call.endpoint], call.durations) }
    }
    for dials in channel.dials {
      let labels: Labels = ["endpoint": dials.endpoint, "use": use]
      add(.connects, labels, dials.connects)
      add(.connectFailures, labels, dials.failures)
    }
    for link in channel.links {
      // All states, so that an alert can use one that no connection is in.
      for state in ChannelSample.Link.states {
        add(.upstreamConnections, ["endpoint": link.endpoint, "use": use, "state": state], state == link.state ? 1 : 0)
      }
    }
    add(.callsInFlight, ["use": use], channel.callsUnderWay)
    add(.repeatedCalls, ["use": use], channel.repeats)
    add(.unsentCalls, ["use": use], channel.unsent)
  }
}

extension GRPCCode {
  /// The name in Go's gRPC, such as `InvalidArgument`.
  var label: String {
    if self == .ok { return "OK" }
    let name = "\(self)"
    return name.prefix(1).uppercased() + name.dropFirst()
  }
}
