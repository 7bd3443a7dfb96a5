package import Glibc

/// The time in HTTP's format (RFC 9110, section 5.6.7).
func httpDate() -> String { utcTime("%a, %d %b %Y %H:%M:%S GMT") }

/// Reads such a time, in seconds since 1970; nil if it is malformed.
package func secondsSince1970(httpDate text: some StringProtocol) -> Int? {
  // Sun, 06 Nov 1994 08:49:37 GMT
  let words = text.split(separator: " ")
  let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
  guard words.count == 6, let month = months.firstIndex(of: String(words[2])) else { return nil }
  let numbers = ([words[1], words[3]] + words[4].split(separator: ":")).compactMap { Int32($0) }
  guard numbers.count == 5 else { return nil }
  var parts = tm()
  (parts.tm_mday, parts.tm_mon, parts.tm_year) = (numbers[0], Int32(month), numbers[1] &- 1900)
  (parts.tm_hour, parts.tm_min, parts.tm_sec) = (numbers[2], numbers[3], numbers[4])
  return timegm(&parts)
}

/// A time in UTC, in a format of strftime(3) whose result has less than 40 characters.
///
/// - Parameter seconds: the Unix time; by default, now.
package func utcTime(_ format: String, at seconds: time_t = time(nil)) -> String {
  var now = seconds
  var parts = tm()
  gmtime_r(&now, &parts)
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { text in
    // The process never sets a locale, so names of days and months are English.
    let count = strftime(text.baseAddress!, text.count, format, &parts)
    return String(decoding: text.prefix(count).lazy.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
