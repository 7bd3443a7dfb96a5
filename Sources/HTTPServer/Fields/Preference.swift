/// The preferences of a request that the gateway honours (RFC 7240).
enum Preference {
  /// Whether `handling=strict` (RFC 7240, section 4.4) is among the preferences.
  static func isStrict(_ header: HeadBytes) -> Bool {
    header.listElements.contains { preference in
      let value = preference.prefix { $0 != UInt8(ascii: ";") }
      return value.filter { !HeadCheck.isBlank($0) && $0 != UInt8(ascii: "\"") }.isNamed("handling=strict")
    }
  }
}
