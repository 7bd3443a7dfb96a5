import Foundation

/// A connection to Chromium by the Chrome DevTools Protocol: numbered calls, their answers, and events, as JSON over
/// one WebSocket. Pages share it, each under the name of its session.
actor DevTools {
  /// An error that Chromium answers to a call.
  struct RequestError: Error, CustomStringConvertible {
    let method: String
    let message: String
    var description: String { "\(method): \(message)" }
  }

  private let socket: WebSocketClient
  private var lastID = 0
  private var calls: [Int: CheckedContinuation<JSON, any Error>] = [:]
  private var listeners: [String: @Sendable (_ event: String, _ parameters: JSON) -> Void] = [:]
  private var failure: (any Error)?

  /// - Parameters:
  ///   - url: `http://HOST:PORT` of the browser.
  ///   - path: the path of its own WebSocket.
  static func connect(_ url: String, _ path: String) async throws -> DevTools {
    let devTools = DevTools(try await WebSocketClient.connect(url, path))
    // It ends with the connection, which ends with the browser.
    Task { await devTools.receive() }
    return devTools
  }

  private init(_ socket: WebSocketClient) {
    self.socket = socket
  }

  /// Calls a method of the protocol.
  /// - Parameter session: the session; nil for the browser's own.
  /// - Throws: `RequestError` if Chromium refuses; `HTTPFailure` if it has gone.
  @discardableResult
  func call(_ method: String, _ parameters: JSON = [:], session: String? = nil) async throws -> JSON {
    if let failure { throw failure }
    lastID += 1
    let id = lastID
    var message: JSON = ["id": .number(Double(id)), "method": .string(method), "params": parameters]
    if let session { message["sessionId"] = .string(session) }
    let text = message.description
    let answer = try await withCheckedThrowingContinuation { call in
      calls[id] = call
      Task {
        do { try await socket.send(text) } catch { calls.removeValue(forKey: id)?.resume(throwing: error) }
      }
    }
    if let error = answer["error"] {
      throw RequestError(method: method, message: error["message"]?.string ?? "\(error)")
    }
    return answer["result"] ?? [:]
  }

  /// Passes the events of a session to `listener`, in their order.
  func listen(to session: String, _ listener: @escaping @Sendable (_ event: String, _ parameters: JSON) -> Void) {
    listeners[session] = listener
  }

  private func receive() async {
    do {
      while true { take(try await socket.receiveJSON(timeout: .seconds(3600))) }
    } catch {
      failure = error
      for call in calls.values { call.resume(throwing: error) }
      calls = [:]
      await socket.close()
    }
  }

  private func take(_ message: JSON) {
    if let id = message["id"]?.number {
      calls.removeValue(forKey: Int(id))?.resume(returning: message)
    } else if let event = message["method"]?.string, let session = message["sessionId"]?.string {
      listeners[session]?(event, message["params"] ?? [:])
    }
  }
}
