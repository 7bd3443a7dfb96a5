import EtcdSchema
import SwiftProtobuf
import Synchronization
import TestSupport

@testable import GrpcBridge

/// What an etcd in memory answers: logins and tokens as etcd does, all else as the test has said.
final class SimulatedEtcd: Sendable {
  /// Why a call is refused.
  struct Refusal: Error {
    let code: GRPCCode
    let message: String

    init(_ code: GRPCCode, _ message: String) {
      self.code = code
      self.message = message
    }
  }

  private struct State {
    var answers: [String: ScriptedPeer.Script] = [:]
    /// The passwords of the users; nil while authentication is off.
    var passwords: [String: String]?
    var tokens: Set<String> = []
    var loginCount = 0

    /// Why a call with this token is not executed; nil if it is.
    func refusal(of token: String?) -> ScriptedPeer.Answer? {
      guard passwords != nil else { return nil }
      guard let token else { return .failure(GRPCCode.invalidArgument.rawValue, EtcdMessage.userEmpty) }
      return tokens.contains(token) ? nil : .failure(GRPCCode.unauthenticated.rawValue, EtcdMessage.invalidAuthToken)
    }
  }

  private let state = Mutex(State())

  init() {
    // The gateway asks whether it needs credentials, by a read that finds nothing.
    on(EtcdRPC.range) { _ in .init() }
  }

  /// Answers each call of an RPC with a message, or with an error.
  func on<Request, Response>(
    _ rpc: RPC<Request, Response>, _ answer: @escaping @Sendable (Request) throws -> Response
  ) {
    on(rpc) { call in
      do {
        return .message(try answer(try Request(serializedBytes: call.message)).serializedBytes())
      } catch let refusal as Refusal {
        return .failure(refusal.code.rawValue, refusal.message)
      } catch {
        return .failure(GRPCCode.internal.rawValue, "\(error)")
      }
    }
  }

  /// The same with what is sent for the answer, step by step.
  func on<Request, Response>(_ rpc: RPC<Request, Response>, script: @escaping ScriptedPeer.Script) {
    state.withLock { $0.answers[rpc.traits.path] = script }
  }

  /// Checks credentials from now on.
  func enableAuth(_ passwords: [String: String]) { state.withLock { $0.passwords = passwords } }

  /// Accepts no token any more that it has issued, as after a restart.
  func forgetTokens() { state.withLock { $0.tokens = [] } }

  /// How many users were logged in.
  var loginCount: Int { state.withLock { $0.loginCount } }

  func answer(to call: ScriptedPeer.Call) -> ScriptedPeer.Answer {
    if call.path == EtcdRPC.authenticate.traits.path { return logIn(call) }
    let (answer, refusal) = state.withLock { ($0.answers[call.path], $0.refusal(of: call.headers["token"])) }
    if let refusal { return refusal }
    return answer?(call) ?? .failure(GRPCCode.unimplemented.rawValue, "the test has no answer to \(call.path)")
  }

  private func logIn(_ call: ScriptedPeer.Call) -> ScriptedPeer.Answer {
    guard let request = try? Etcdserverpb_AuthenticateRequest(serializedBytes: call.message) else {
      return .failure(GRPCCode.internal.rawValue, "not an AuthenticateRequest")
    }
    return state.withLock { state in
      guard let passwords = state.passwords else {
        return .failure(GRPCCode.failedPrecondition.rawValue, EtcdMessage.authNotEnabled)
      }
      guard passwords[request.name] == request.password else {
        return .failure(GRPCCode.invalidArgument.rawValue, EtcdMessage.authFailed)
      }
      state.loginCount += 1
      let token = "\(request.name).\(state.loginCount)"
      state.tokens.insert(token)
      let answer = Etcdserverpb_AuthenticateResponse.with { $0.token = token }
      return .message((try? answer.serializedBytes()) ?? [])
    }
  }
}
