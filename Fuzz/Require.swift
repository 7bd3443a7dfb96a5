/// Ends the process with a message, which `precondition` keeps to itself in an optimized build.
func require(_ condition: Bool, _ message: @autoclosure () -> String) {
  if !condition { fatalError(message()) }
}
