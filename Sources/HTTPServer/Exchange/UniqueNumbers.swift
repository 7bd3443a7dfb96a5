/// Makes numbers that never repeat and do not reveal how many there were. (SplitMix64: a counter, through a function
/// that is one to one.)
package struct UniqueNumbers {
  private var state = UInt64.random(in: 0...(.max))

  package init() {}

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var number = state
    number = (number ^ (number >> 30)) &* 0xBF58_476D_1CE4_E5B9
    number = (number ^ (number >> 27)) &* 0x94D0_49BB_1331_11EB
    return number ^ (number >> 31)
  }
}
