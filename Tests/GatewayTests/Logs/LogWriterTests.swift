import ByteBuffers
import Foundation
import ProtobufWire
import TestSupport
import Testing

@testable import Gateway

/// Where log lines go, and what happens if they cannot be written.
@Suite(.timeLimit(.minutes(5))) struct LogWriterTests {
  private func lines(_ count: Int, of size: Int) -> ByteBuffer {
    var buffer = ByteBuffer()
    let line = String(repeating: "x", count: size - 1) + "\n"
    for _ in 0..<count { buffer.append(line.utf8) }
    return buffer
  }

  /// More than the pipe and the buffers have room for, while nothing reads: no logging thread waits. Once the pipe is
  /// read, the lines that were taken are whole, and the others are reported.
  @Test func aStuckPipeHoldsNobodyBack() async throws {
    let pipe = Pipe()
    let writer = LogWriter(pipe.fileHandleForWriting.fileDescriptor)
    writer.use(.json)
    let (size, batch) = (1000, 10)
    let batches = 4 * LogWriter.capacity / (size * batch)
    for _ in 0..<batches { writer.append(lines(batch, of: size), count: batch) }
    let dropped = Int(writer.droppedCount)
    #expect(dropped >= batches * batch / 2 && dropped % batch == 0)

    // Dropped lines are reported each time when there is room again: once or twice, depending on when the writer's
    // thread runs.
    var (bytes, taken, told) = ([UInt8](), 0, 0)
    while taken + told < batches * batch {
      bytes += pipe.fileHandleForReading.availableData
      while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(bytes[..<end])
        bytes.removeSubrange(...end)
        if line.first == UInt8(ascii: "x") {
          #expect(line.count == size - 1)
          taken += 1
        } else {
          let note = try JSON(parsing: line)
          #expect(note["level"]?.string == "warning")
          told += Int(try #require(note["lines"]?.number))
        }
      }
    }
    #expect(taken == batches * batch - dropped && told == dropped && bytes.isEmpty)

    // Everything is as before.
    writer.append(lines(1, of: 4))
    #expect(pipe.fileHandleForReading.availableData == Data("xxx\n".utf8))
    #expect(Int(writer.droppedCount) == dropped)
  }

  @Test func whatTakesNothingCountsAsDropped() throws {
    let full = try #require(FileHandle(forWritingAtPath: "/dev/full"))
    let writer = LogWriter(full.fileDescriptor)
    for number in 1...3 {
      writer.append(lines(2, of: 10), count: 2)
      writer.flush(within: 60_000)
      #expect(writer.droppedCount == UInt64(number * 2))
    }
    withExtendedLifetime(full) {}
  }

  @Test func linesComeInOrderFromManyThreads() async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/log"
      let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
      let writer = LogWriter(descriptor)
      await withTaskGroup { group in
        for thread in 0..<4 {
          group.addTask {
            for number in 0..<500 {
              var line = LogLine(.text, at: "t", .info, "m")
              line.add("thread", thread)
              line.add("number", number)
              writer.append(line.end())
            }
          }
        }
      }
      writer.flush(within: 60_000)
      let text = try String(contentsOfFile: path, encoding: .utf8)
      for thread in 0..<4 {
        let own = text.split(separator: "\n").filter { $0.contains("thread=\(thread) ") }
        #expect(own == (0..<500).map { "t info m thread=\(thread) number=\($0)" })
      }
      #expect(writer.droppedCount == 0)
    }
  }
}
