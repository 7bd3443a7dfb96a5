/// Calls that a channel keeps, each in the slot that it remembers, so that it is found and taken out at once.
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
