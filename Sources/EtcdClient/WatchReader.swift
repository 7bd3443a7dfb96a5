internal import EtcdSchema
internal import GrpcBridge
internal import SwiftProtobuf

/// One watch of a client, on the client's thread.
final class WatchReader: ClientOperation {
  private unowned let core: ClientLoop
  private let cancellationToken: CancellationToken
  private let request: Etcdserverpb_WatchCreateRequest
  private let buffer: StreamBuffer<WatchBatch>
  private var client: WatchClient?

  /// What all readers of the same watch share of a response.
  private final class Rendering {
    let response: Etcdserverpb_WatchResponse
    let batch: WatchBatch
    let size: Int

    init(_ bytes: [UInt8]) throws {
      response = try decode(bytes)
      batch = WatchBatch(response)
      size = bytes.count
    }
  }

  init(
    _ request: Etcdserverpb_WatchCreateRequest, core: ClientLoop, cancellationToken: CancellationToken,
    buffer: StreamBuffer<WatchBatch>
  ) {
    self.request = request
    self.core = core
    self.cancellationToken = cancellationToken
    self.buffer = buffer
  }

  func start() {
    let client = core.bridge.watches.open(for: core.caller, delegate: self)
    self.client = client
    do throws(GRPCStatus) {
      try client.receive(.with { $0.createRequest = request })
    } catch {
      end(core.error(error))
    }
  }

  func cancel() { end(CancellationError()) }

  func resume() { client?.resume() }

  func close(_ error: EtcdError) { end(error) }

  private func end(_ error: (any Error)?) {
    client?.cancel()
    core.ended(cancellationToken)
    buffer.finish(error)
  }
}

extension WatchReader: WatchClientDelegate {
  func watchClient(_ client: WatchClient, received response: WatchResponse, watchID: Int64) {
    do {
      let rendering = try response.rendering(variant: watchID) { () throws in
        var bytes: [UInt8] = []
        response.encoded(watchID: watchID) { bytes += $0 }
        return try Rendering(bytes)
      }
      let message = rendering.response
      guard !message.canceled else {
        return end(EtcdError(watchCanceledBecause: message.cancelReason, compactRevision: message.compactRevision))
      }
      if !buffer.add(rendering.batch, size: rendering.size) { client.pause() }
    } catch {
      end(error)
    }
  }

  func watchClient(_ client: WatchClient, endedWith status: GRPCStatus) { end(core.error(status)) }
}
