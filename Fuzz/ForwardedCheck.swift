/// Any bytes as the header fields of a client and its proxies: a byte for the field of each line, then the line.
/// Whatever a client says, the proxy that the gateway trusts has the last word.
func checkForwarded(_ input: UnsafeBufferPointer<UInt8>) {
  let names: [StaticString] = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
  let proxy = IPAddress(v4: 0x7F00_0001)
  let client = IPAddress(v4: 0xC000_0201)

  var fields = ForwardedFields()
  var hasStandard = false
  for line in input.split(separator: UInt8(ascii: "\n")) {
    guard let first = line.first else { continue }
    let name = names[Int(first) % names.count]
    hasStandard = hasStandard || name.utf8CodeUnitCount == 9
    fields.take(
      UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
      UnsafeBufferPointer(rebasing: line.dropFirst()))
  }
  let said = fields.resolve(from: proxy) { $0 == proxy }
  if let host = said.host { require(!host.isEmpty && host.utf8.count <= 261, "a host of \(host.utf8.count) bytes") }

  // The proxy's field comes last, in the old form: then the client can only be the one that the proxy names, or
  // unknown.
  let name: StaticString = "x-forwarded-for"
  let word = Array("192.0.2.1".utf8)
  word.withUnsafeBufferPointer { word in
    fields.take(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), word)
    let known = fields.resolve(from: proxy) { $0 == proxy }.client
    require(known == client || (hasStandard && known == proxy), "the client is \(String(describing: known))")
  }
}
