/// A call that a place makes for itself. The bridge keeps it until it ends.
final class QueueQuestion: CallDelegate {
  private(set) lazy var call = Call(
    method, message: CallMessage(copying: message), timeout: GRPCTimeout(milliseconds: timeout), delegate: self)
  private let method: CallMethod
  private let message: [UInt8]
  private let timeout: UInt64
  private let answer: (Result<[UInt8], GRPCStatus>) -> Void
  private var response: [UInt8] = []
  /// How large an answer may be, in bytes: none has more than a few numbers and two keys.
  private static let maxBytes = 64 << 10
  /// Called when it ends, before `answer`.
  var onEnd: () -> Void = {}

  init(
    _ method: CallMethod, _ message: [UInt8], timeout: UInt64,
    answer: @escaping (Result<[UInt8], GRPCStatus>) -> Void
  ) {
    self.method = method
    self.message = message
    self.timeout = timeout
    self.answer = answer
    call.maxBytes = Self.maxBytes
    // A key that stays in a queue delays all clients behind it.
    call.waitsForReady = true
  }

  func call(_ call: Call, willReceive length: Int) { response = [] }
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response += bytes }
  func call(_ call: Call, endedWith status: GRPCStatus) {
    onEnd()
    answer(status.isOK ? .success(response) : .failure(status))
  }
}
