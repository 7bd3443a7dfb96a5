import EventLoop

/// An object that an ``AttendedList`` can check.
protocol Attended: AnyObject {
  /// Whether it is on its list. Only the list sets this.
  var isAttended: Bool { get set }
}

/// Objects that are checked at intervals, each for as long as it needs that. Belongs to a loop.
final class AttendedList<Element: Attended> {
  private let interval: UInt64
  private let needsAnotherLook: (Element) -> Bool
  private var elements: [Element] = []
  private let loop: EventLoop
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in look() }

  /// - Parameters:
  ///   - interval: the milliseconds between two checks.
  ///   - needsAnotherLook: checks an element, and returns whether it stays on the list. It may add others.
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

  /// Ends all checks.
  ///
  /// - Returns: the elements that were on the list.
  @discardableResult
  func stop() -> [Element] {
    timer.stop()
    defer { elements = [] }
    return elements
  }

  private func look() {
    // Elements that are added from here on come after those that stay.
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
