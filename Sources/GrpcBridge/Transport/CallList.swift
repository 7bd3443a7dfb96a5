/// The calls of a channel. Each call remembers its slot, so that it is removed without a search.
struct CallList {
  private(set) var calls = ContiguousArray<Call>()

  var isEmpty: Bool { calls.isEmpty }

  mutating func add(_ call: Call) {
    call.slot = calls.count
    calls.append(call)
  }

  mutating func remove(_ call: Call) {
    let last = calls.removeLast()
    if last !== call {
      calls[call.slot] = last
      last.slot = call.slot
    }
    call.slot = -1
  }
}
