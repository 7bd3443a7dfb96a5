/// Sends reads of single keys to etcd together. Reads that one user makes in the same turn of the loop go as one
/// transaction, which costs etcd an eighth of as many calls; equal ones share an answer. Belongs to a ``Bridge``.
///
/// No read waits for another turn, and a read that is alone is sent as it is. Answers are never kept: a read is only
/// answered by a call that was sent after the read had come.
final class ReadBatcher {
  private struct Waiting {
    let call: Call
    let isSerializable: Bool
    /// The index of the next call in its group; negative for none.
    var next = -1
  }

  /// The reads of a user.
  private struct Group {
    let token: Token?
    let isSerializable: Bool
    let first: Int
    var last: Int
  }

  /// If the answer to a batch is larger, in bytes, the batch is given up.
  static let maxAnswer = 1 << 20
  /// How many bytes of answers are kept at a time.
  private static let maxReserved = 8 << 20
  /// How many bytes the requests of a batch may have: etcd takes more, with any `--max-request-bytes`.
  private static let maxRequest = 256 << 10
  /// How many groups are searched for the one of another read.
  private static let maxLookBack = 64

  unowned let channel: Channel
  private let maxBatch: Int
  /// The size in bytes from which an answer is large: a full batch of smaller ones always fits.
  private let large: Int
  var counts = BatchCounts()
  private var waiting: ContiguousArray<Waiting> = []
  /// The calls of the turn that is being sent.
  private var leaving: ContiguousArray<Waiting> = []
  private var groups: ContiguousArray<Group> = []
  private var members: ContiguousArray<ReadBatch.Member> = []
  private var operations: ContiguousArray<Call> = []
  private var operationsByHash: [UInt: Int] = [:]
  private var requestBytes = 0
  private var largeReads = LargeReads()
  private var failing = FailingBatches()
  private var reserved = 0

  init(channel: Channel, maxBatch: Int) {
    self.channel = channel
    self.maxBatch = maxBatch
    large = Self.maxAnswer / max(1, maxBatch) - 64
  }

  // MARK: - The turn of the loop

  /// Keeps `call` until the end of the turn, if it may share a batch.
  func take(_ call: Call) -> Bool {
    // A call that has failed before, alone or in a batch, goes alone. So does one of a client that records its trace,
    // which wants to see its own call there. (Traces that begin here may be as many as requests.)
    guard call.failedAt == nil, call.retry.losses == 0, call.caller.trace?.isOfRecordingClient != true,
      let read = SingleRead(call.message.content)
    else {
      return false
    }
    if channel.gather(call) {
      call.isSingleRead = true
      waiting.append(Waiting(call: call, isSerializable: read.isSerializable))
    }
    return true
  }

  var needsFlush: Bool { !waiting.isEmpty }

  /// Sends the reads of this turn.
  func flush() {
    guard !waiting.isEmpty else { return }
    guard waiting.count > 1 else {
      let call = waiting.removeLast().call
      return sendAlone(call)
    }
    swap(&waiting, &leaving)
    group()
    for index in groups.indices { send(groups[index]) }
    groups.removeAll(keepingCapacity: true)
    leaving.removeAll(keepingCapacity: true)
  }

  private func sendAlone(_ call: Call) {
    // It may have been cancelled within the turn.
    if call.phase == .travelling { channel.send(call) }
  }

  private func group() {
    for index in leaving.indices {
      let isSerializable = leaving[index].isSerializable
      let call = leaving[index].call
      let token = call.token?.isEmpty == false ? call.token : nil
      let known = groups.indices.suffix(Self.maxLookBack).last {
        groups[$0].isSerializable == isSerializable && (groups[$0].token === token || groups[$0].token == token)
      }
      if let known {
        leaving[groups[known].last].next = index
        groups[known].last = index
      } else {
        groups.append(Group(token: token, isSerializable: isSerializable, first: index, last: index))
      }
    }
  }

  private func send(_ group: Group) {
    guard group.first != group.last, !failing.contains(group.token, at: channel.loop.now),
      let connection = channel.subchannel(for: leaving[group.first].call)?.connection
    else { return sendOneByOne(group) }
    var index = group.first
    while index >= 0 {
      let call = leaving[index].call
      index = leaving[index].next
      if call.phase == .travelling { add(call, group, connection) }
    }
    close(group, connection)
  }

  private func sendOneByOne(_ group: Group) {
    var index = group.first
    while index >= 0 {
      sendAlone(leaving[index].call)
      index = leaving[index].next
    }
  }

  private func add(_ call: Call, _ group: Group, _ connection: Connection) {
    let request = call.message.content
    let hash = LargeReads.hash(of: request)
    if let operation = operationsByHash[hash] {
      guard operations[operation].message.content.elementsEqual(request) else { return sendAlone(call) }
      return members.append(ReadBatch.Member(call: call, operation: operation))
    }
    guard !largeReads.contains(hash) else {
      call.wasLarge = true
      return sendAlone(call)
    }
    if operations.count >= maxBatch || requestBytes + request.count > Self.maxRequest {
      close(group, connection)
    }
    operationsByHash[hash] = operations.count
    members.append(ReadBatch.Member(call: call, operation: operations.count))
    operations.append(call)
    requestBytes += request.count
  }

  /// Sends the reads of a group.
  private func close(_ group: Group, _ connection: Connection) {
    guard !members.isEmpty else { return }
    let (members, operations) = (members, operations)
    self.members.removeAll(keepingCapacity: true)
    self.operations.removeAll(keepingCapacity: true)
    operationsByHash.removeAll(keepingCapacity: true)
    requestBytes = 0
    let limit = operations.count > 1 ? connection.transactions.limit() : 1
    guard operations.count > limit else { return start(members, operations[...], group, connection) }
    let size = max(1, limit)
    if size == 1 && members.count == operations.count {
      for call in operations { sendAlone(call) }
      return
    }
    // The members in parts, those with equal requests in the same part.
    var parts: [ContiguousArray<ReadBatch.Member>] = []
    parts.reserveCapacity((operations.count + size - 1) / size)
    for member in members {
      let part = member.operation / size
      if part >= parts.count { parts.append([]) }
      parts[part].append(ReadBatch.Member(call: member.call, operation: member.operation % size))
    }
    for (part, members) in parts.enumerated() {
      start(members, operations[part * size..<min(operations.count, (part + 1) * size)], group, connection)
    }
  }

  private func start(
    _ members: ContiguousArray<ReadBatch.Member>, _ operations: ArraySlice<Call>, _ group: Group,
    _ connection: Connection
  ) {
    guard members.count > 1 else { return sendAlone(members[0].call) }
    ReadBatch(members, operations: operations, token: group.token, batcher: self).start(on: connection)
  }

  // MARK: - Sizes of answers

  /// Notes how large the answer to a read was that was sent alone.
  func note(_ call: Call, length: Int) {
    if length > large {
      isLarge(call)
    } else if call.wasLarge {
      largeReads.remove(LargeReads.hash(of: call.message.content))
    }
  }

  func isLarge(_ call: Call) { largeReads.insert(LargeReads.hash(of: call.message.content)) }

  /// Reserves room for an answer; false if there is none.
  func reserve(_ bytes: Int) -> Bool {
    guard reserved + bytes <= Self.maxReserved else { return false }
    reserved += bytes
    return true
  }

  func letGo(_ bytes: Int) { reserved -= bytes }

  func isSent(reads: Int, operations: Int) {
    if operations > 1 {
      counts.batches += 1
      counts.batchedReads += operations
    }
    counts.sharedReads += reads - operations
  }

  func failed(_ token: Token?) { failing.failed(token, at: channel.loop.now) }

  func succeeded(_ token: Token?) { failing.succeeded(token) }
}
