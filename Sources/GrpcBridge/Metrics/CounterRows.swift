/// Rows of counters of the same width, made when they are first needed. A counter is found by two numbers, without a
/// lock, a search or, except for the first time, an allocation. Belongs to one loop.
package struct CounterRows: ~Copyable {
  private let width: Int
  // Invariant: each is nil, or memory of `width` initialised numbers that only this value refers to.
  private var rows: [UnsafeMutablePointer<UInt64>?] = []

  /// - Parameter width: how many counters a row has.
  package init(width: Int) { self.width = width }

  deinit { for row in rows { row?.deallocate() } }

  /// The counters of a row, valid until this value is destroyed.
  @inline(__always)
  package mutating func row(_ index: Int) -> UnsafeMutablePointer<UInt64> {
    if index < rows.count, let row = rows[index] { return row }
    return make(index)
  }

  @inline(never)
  private mutating func make(_ index: Int) -> UnsafeMutablePointer<UInt64> {
    while rows.count <= index { rows.append(nil) }
    let row = UnsafeMutablePointer<UInt64>.allocate(capacity: width)
    row.initialize(repeating: 0, count: width)
    rows[index] = row
    return row
  }

  /// The existing rows, with their numbers.
  package var all: [(index: Int, counters: [UInt64])] {
    rows.indices.compactMap { index in
      rows[index].map { (index, Array(UnsafeBufferPointer(start: $0, count: width))) }
    }
  }
}
