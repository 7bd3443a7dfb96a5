import Glibc

/// The time as HTTP has it (RFC 9110, section 5.6.7).
func httpDate() -> String { utcTime("%a, %d %b %Y %H:%M:%S GMT") }

/// The time in UTC, in a format of strftime(3) that comes to less than 40 characters.
func utcTime(_ format: String) -> String {
  var now = time(nil)
  var parts = tm()
  gmtime_r(&now, &parts)
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { text in
    // The process never sets a locale: names of days and months are English.
    let count = strftime(text.baseAddress!, text.count, format, &parts)
    return String(decoding: text.prefix(count).lazy.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
