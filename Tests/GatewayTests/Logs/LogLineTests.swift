import TestSupport
import Testing
import Transcoding

@testable import Gateway
@testable import HTTPServer

/// Lines of the log, whatever they contain.
@Suite struct LogLineTests {
  private static let time = "2026-11-29T03:14:15.926Z"

  private func line(_ format: LogFormat, _ message: String, _ add: (inout LogLine) -> Void = { _ in }) -> String {
    var line = LogLine(format, at: Self.time, .warning, message)
    add(&line)
    return line.end().withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
  }

  @Test func fieldsHaveTheFormThatTheirValuesNeed() throws {
    func add(_ line: inout LogLine) {
      line.add("a", "plain/%20")
      line.add("b", "two words")
      line.add("c", "")
      line.add("d", "x=1")
      line.add("e", 404)
      line.add("f", nanoseconds: 1_002_003_999)
      line.add("g", true)
    }
    #expect(
      line(.text, "a thing", add)
        == "\(Self.time) warning a thing a=plain/%20 b=\"two words\" c=\"\" d=\"x=1\" e=404 f=1.002003 g=true\n")
    #expect(
      line(.json, "a thing", add)
        == "{\"time\":\"\(Self.time)\",\"level\":\"warning\",\"message\":\"a thing\",\"a\":\"plain/%20\",\"b\":\"two words\""
        + ",\"c\":\"\",\"d\":\"x=1\",\"e\":404,\"f\":1.002003,\"g\":true}\n")
  }

  /// Line feeds, quotes, escape sequences of terminals (C1 too), line separators, and marks that change the direction
  /// of text.
  @Test(arguments: [LogFormat.text, .json])
  func nothingInAValueForgesALine(_ format: LogFormat) throws {
    let evil =
      "x\"\\\n2026 info forged\r\t\u{0}\u{1b}[2J\u{7f}\u{9b}2J\u{85}\u{2028}\u{2029}\u{202e}\u{feff}\u{e0041} é日😀"
    let written = line(format, evil) { $0.add(evil, evil) }
    #expect(written.utf8.count { $0 == 0x0a } == 1 && written.hasSuffix("\n"))
    let body = written.dropLast()
    #expect(
      body.unicodeScalars.allSatisfy { scalar in
        let value = scalar.value
        return value >= 0x20 && !(0x7f...0x9f).contains(value) && !(0x2028...0x202e).contains(value)
          && value != 0xfeff && value < 0xe0000
      })
    #expect(body.contains("é日😀"))
    #expect(
      body.contains(
        #"x\"\\\n2026 info forged\r\t\u0000\u001b[2J\u007f\u009b2J\u0085\u2028\u2029\u202e\ufeff\udb40\udc41"#))
    if format == .json {
      let json = try JSON(parsing: Array(body.utf8))
      #expect(json["message"]?.string == evil && json[evil]?.string == evil)
    }
  }

  @Test func anyBytesMakeAValidLine() throws {
    var generator = SeededGenerator(seed: 14)
    for _ in 0..<2000 {
      let bytes = generator.bytes(Int.random(in: 0...24, using: &generator))
      let text = String(decoding: bytes, as: UTF8.self)
      let written = line(.json, text) { $0.add("value", text) }
      let json = try JSON(parsing: Array(written.utf8))
      #expect(json["message"]?.string == text && json["value"]?.string == text, "\(bytes)")
      let plain = line(.text, text) { $0.add("value", text) }
      #expect(plain.utf8.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7f }, "\(bytes)")
    }
  }

  @Test func theClockIsThatOfTheDay() throws {
    var clock = LogClock()
    for _ in 0..<3 { #expect(clock.text.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil) }
    #expect(utcTime("%Y-%m-%dT%H:%M:%S.", at: 1_795_921_200) == "2026-11-29T03:00:00.")
  }

  @Test func levelsChooseRequests() {
    func wanted(_ level: AccessLog.Level) -> [Bool] {
      let configuration = AccessLog.Configuration(level: level, slow: 1000)
      return [(200, 999, false), (304, 1000, false), (404, 1, false), (499, 1, false), (200, 1, true)].map {
        configuration.wants(status: $0, duration: $1, isCut: $2)
      } + [configuration.wants(.ok), configuration.wants(.canceled), configuration.wants(.unavailable)]
    }
    #expect(wanted(.off) == [false, false, false, false, false, false, false, false])
    #expect(wanted(.errors) == [false, false, true, true, true, false, false, true])
    #expect(wanted(.slow) == [false, true, true, true, true, false, false, true])
    #expect(wanted(.all) == [true, true, true, true, true, true, true, true])
  }
}
