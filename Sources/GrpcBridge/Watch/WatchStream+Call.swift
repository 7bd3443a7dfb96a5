/// What a watch stream hears of its gRPC call.
extension WatchStream: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    incoming = []
    incoming.reserveCapacity(min(length, 4 << 20))
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { incoming += bytes }

  func callReceivedMessage(_ call: Call) {
    guard call === self.call else { return }
    do {
      take(try WatchMessage(incoming))
    } catch {
      misunderstood("a watch response is malformed")
    }
  }

  func call(_ call: Call, endedWith status: GrpcStatus) {
    guard call === self.call else { return }
    self.call = nil
    ended(with: status.isOK ? GrpcStatus(.unavailable, "etcd ended the watch stream") : status)
  }
}
