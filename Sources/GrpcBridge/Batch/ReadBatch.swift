/// Reads on their way to etcd in one call.
///
/// Each read stays a call of its own to its maker and to the channel, which watches over its deadline. A read that is
/// cancelled is left out when the answer comes. If the batch ends because of the member or of the token, each read ends
/// as if it had been sent alone, so that all rules of repetition hold. After any other failure the reads are sent one
/// by one, so that none fails because of another.
final class ReadBatch: CallDelegate {
  struct Member {
    let call: Call
    /// The index of the read that answers the member.
    let operation: Int
  }

  /// The call to etcd: a transaction, or a single read if all are equal.
  private(set) var call: Call!
  private let members: ContiguousArray<Member>
  private let isTransaction: Bool
  /// How many different reads there are.
  private let operations: Int
  /// How many members still wait for their answer.
  private var waiting: Int
  private unowned let batcher: ReadBatcher
  private var answer: [UInt8] = []
  /// How many bytes of the answer are reserved.
  private var reserved = 0
  private weak var transactions: TransactionProbe?

  /// - Parameters:
  ///   - members: those with the same operation have equal requests.
  ///   - operations: one member of each operation, in order.
  ///   - token: the token of all of them; nil for none.
  init(_ members: ContiguousArray<Member>, operations: ArraySlice<Call>, token: Token?, batcher: ReadBatcher) {
    self.members = members
    self.batcher = batcher
    self.operations = operations.count
    waiting = members.count
    isTransaction = operations.count > 1
    let message =
      isTransaction
      ? BatchRequest.message(of: operations) : CallMessage(copying: members[0].call.message.content)
    call = Call(
      isTransaction ? BatchRequest.transaction : BatchRequest.range, message: message, timeout: nil, delegate: self)
    call.token = token
  }

  private var channel: Channel { batcher.channel }

  /// Sends the batch over `connection`; sends its members one by one if the connection takes no more calls.
  func start(on connection: Connection) {
    call.batch = self
    for member in members { member.call.batch = self }
    guard channel.start(self, on: connection) else {
      call.batch = nil
      return release { channel.send($0) }
    }
    transactions = connection.transactions
    for member in members {
      member.call.retry.isSent()
      member.call.endpoint = call.endpoint
    }
    batcher.isSent(reads: members.count, operations: operations)
  }

  /// A member has had the batch from `start`, for so many nanoseconds.
  func ended(_ code: GRPCCode, since start: UInt64, for time: UInt64, at endpoint: Endpoint) {
    let end = CallEnd(call.method, code, start: start, time: time, endpoint: endpoint, reads: members.count)
    for member in members where member.call.batch === self { member.call.caller.trace?.ended(end) }
  }

  /// One of the reads is over.
  func isLeft(by member: Call) {
    guard member !== call else { return }
    waiting -= 1
    if waiting == 0 { channel.reset(call) }
  }

  /// Hands the members that still wait to `body`, one after the other: each may end others.
  private func release(_ body: (Call) -> Void) {
    batcher.letGo(reserved)
    reserved = 0
    for member in members where member.call.batch === self {
      member.call.batch = nil
      body(member.call)
    }
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {
    let isTooLarge = length > ReadBatcher.maxAnswer
    guard !isTooLarge, batcher.reserve(length) else {
      if isTooLarge { isFoundLarge() }
      channel.reset(call)
      return askAlone()
    }
    reserved = length
    answer.reserveCapacity(length)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { answer.append(contentsOf: bytes) }

  /// Only called if the channel ends all calls, those of the members too.
  func call(_ call: Call, endedWith status: GRPCStatus) {}

  /// The stream has ended.
  func ended(at subchannel: Subchannel, _ status: GRPCStatus, isUnexecuted: Bool) {
    if status.isOK { return answer.withUnsafeBytes { isTransaction ? cut($0) : share($0) } }
    let isOfAll =
      isUnexecuted || status.code == .unavailable || status.isLoss || status.isOfNoUse || status.asksForNewToken
      || !isTransaction && status.origin == .server
    guard !isOfAll else {
      return release { channel.ended($0, at: subchannel, status, isUnexecuted: isUnexecuted) }
    }
    if status.origin == .server && status.message == EtcdMessage.tooManyOps {
      transactions?.refused(count: operations)
    } else {
      batcher.failed(call.token)
    }
    askAlone()
  }

  private func share(_ bytes: UnsafeRawBufferPointer) {
    let empty = UnsafeRawBufferPointer(rebasing: bytes[..<0])
    release {
      batcher.note($0, length: bytes.count)
      Self.answer($0, empty, bytes, channel)
    }
  }

  private func cut(_ bytes: UnsafeRawBufferPointer) {
    guard let answer = try? BatchAnswer(bytes, count: operations) else {
      batcher.failed(call.token)
      return askAlone()
    }
    batcher.succeeded(call.token)
    batcher.letGo(reserved)
    reserved = 0
    for member in members where member.call.batch === self {
      member.call.batch = nil
      let part = answer.parts[member.operation]
      batcher.note(member.call, length: part.rest.count)
      answer.withHeader(of: part, in: bytes) { header in
        Self.answer(member.call, header, UnsafeRawBufferPointer(rebasing: bytes[part.rest]), channel)
      }
    }
  }

  /// Answers a read with a message that is in two pieces.
  private static func answer(
    _ call: Call, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, _ channel: Channel
  ) {
    // The delegate may cancel the call each time.
    call.delegate.call(call, willReceive: first.count + second.count)
    if call.phase == .travelling, !first.isEmpty { call.delegate.call(call, received: first) }
    if call.phase == .travelling, !second.isEmpty { call.delegate.call(call, received: second) }
    if call.phase == .travelling { call.delegate.callReceivedMessage(call) }
    if call.phase == .travelling { channel.end(call, with: GRPCStatus(.ok, origin: .server)) }
  }

  /// The answer is larger than answers of reads that are known to be small. Each read's own answer will show which are
  /// not.
  private func isFoundLarge() {
    batcher.failed(call.token)
    for member in members {
      batcher.isLarge(member.call)
      member.call.wasLarge = true
    }
  }

  /// No member has taken the batch in time.
  func giveUp(_ status: GRPCStatus) {
    channel.reset(call)
    release { channel.end($0, with: status) }
  }

  private func askAlone() {
    release {
      batcher.counts.repeatedReads += 1
      channel.send($0)
    }
  }
}
