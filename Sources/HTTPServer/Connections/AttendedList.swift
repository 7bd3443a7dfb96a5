import EventLoop

/// What is looked at from time to time.
protocol Attended: AnyObject {
  /// Whether it is on its list; set by that alone.
  var isAttended: Bool { get set }
}

/// Objects that are looked at again and again, each for as long as it needs that. Belongs to a loop.
final class AttendedList<Element: Attended> {
  private let interval: UInt64
  private let needsAnotherLook: (Element) -> Bool
  private var elements: [Element] = []
  private let loop: EventLoop
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in look() }

  /// - Parameters:
  ///   - interval: how many milliseconds lie between two looks.
  ///   - needsAnotherLook: looks at an element, and tells whether it is to stay. It may have others looked at.
  init(loop: EventLoop, every interval: UInt64, needsAnotherLook: @escaping (Element) -> Bool) {
    self.loop = loop
    self.interval = interval
    self.needsAnotherLook = needsAnotherLook
  }

  func attend(_ element: Element) {
    guard !element.isAttended else { return }
    element.isAttended = true
    elements.append(element)
    if !timer.isActive { timer.start(after: interval, every: interval) }
  }

  /// Looks at nothing any more.
  ///
  /// - Returns: what was on the list.
  @discardableResult
  func stop() -> [Element] {
    timer.stop()
    defer { elements = [] }
    return elements
  }

  private func look() {
    // Those that are attended to from here on come behind those that stay.
    let old = elements
    elements = []
    var left: [Element] = []
    for element in old {
      element.isAttended = needsAnotherLook(element)
      if element.isAttended { left.append(element) }
    }
    elements = left + elements
    if elements.isEmpty { timer.stop() }
  }
}
