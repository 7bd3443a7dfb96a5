import TestSupport
import Testing

/// What client generators accept and use correctly, beyond what OpenAPI allows.
@Suite(.timeLimit(.minutes(2)))
struct GeneratorTests {
  private let document: JSON

  init() async throws {
    document = try JSON(parsing: Array(try await CommandRun.etcdRest("openapi").output.utf8))
  }

  /// The objects with a member of that name, with their places, such as `/paths//keys/get`.
  private func objects(having name: String) -> [(place: String, object: [String: JSON])] {
    var found: [(String, [String: JSON])] = []
    func search(_ value: JSON, _ place: String) {
      if let object = value.object {
        // Examples are no description.
        if object[name] != nil { found.append((place, object)) }
        for (member, value) in object where !["example", "examples"].contains(member) {
          search(value, "\(place)/\(member)")
        }
      }
      for (index, value) in (value.array ?? []).enumerated() { search(value, "\(place)/\(index)") }
    }
    search(document, "")
    return found
  }

  /// swagger-parser, and with it OpenAPI Generator, refuses a document with a link that has another body.
  @Test func aLinkHasABodyOnlyInItsExtension() throws {
    let links = objects(having: "links").flatMap { place, object in
      (object["links"]?.object ?? [:]).map { ("\(place)/links/\($0.key)", $0.value) }
    }
    #expect(links.count > 10)
    let targets = objects(having: "operationId").filter { $0.object["responses"] != nil }
    let schemas = document["components"]?["schemas"]
    for (place, link) in links {
      #expect(link["requestBody"] == nil, "\(place)")
      #expect(link["description"]?.string != nil, "\(place)")
      let target = try #require(
        targets.first { $0.object["operationId"] == link["operationId"] }?.object, "\(place): leads nowhere")
      let body = link["x-requestBody"]
      #expect((body != nil) == (link["parameters"] == nil), "\(place)")
      let reference = target["requestBody"]?["content"]?["application/json"]?["schema"]?["$ref"]?.string
      if let body {
        let name = try #require(reference?.split(separator: "/").last, "\(place)")
        let known = try #require(schemas?[String(name)]?["properties"]?.object, "\(place)")
        for field in try #require(body.object, "\(place)").keys { #expect(known[field] != nil, "\(place): \(field)") }
      }
    }
  }

  /// For alternatives, generators make types that require the fields of all, or that take the first one, whatever has
  /// come.
  @Test func noSchemaIsAChoiceOfObjects() throws {
    for keyword in ["anyOf", "oneOf"] {
      for (place, object) in objects(having: keyword) {
        let choices = try #require(object[keyword]?.array)
        let isNullable = choices.count == 2 && choices.contains { $0["type"]?.string == "null" }
        // Rules beside properties only name required members.
        let isRule = choices.allSatisfy { $0.object?.keys.elementsEqual(["required"]) == true }
        #expect(isNullable || isRule, "\(place)")
      }
    }
  }

  /// Generated clients put all schemes into the request, one over the other, even empty ones: the last must be Basic.
  @Test func noTwoSchemesAreOfOneKindAndHeader() throws {
    let schemes = try #require(document["components"]?["securitySchemes"]?.object)
    #expect(Set(schemes.keys) == ["basic", "bearer"])
    #expect(schemes.values.allSatisfy { $0["type"]?.string == "http" })
    let names = document["security"]?.array?.map { Array(($0.object ?? [:]).keys) }
    #expect(names == [["bearer"], ["basic"], []])
  }

  /// Constants of generated Go are all in one scope.
  @Test func constantsOfEnumsHaveNamesOfTheirOwn() throws {
    var owners: [String: String] = [:]
    for (name, schema) in try #require(document["components"]?["schemas"]?.object) {
      let values = schema["enum"]?.array ?? []
      let constants = schema["x-enum-varnames"]?.array ?? values
      #expect(constants.count == values.count, "\(name)")
      for constant in constants.compactMap(\.string) {
        #expect(owners.updateValue(name, forKey: constant) == nil, "\(name): \(constant)")
      }
    }
    #expect(owners["SORT_TARGET_VERSION"] == "RangeRequestSortTarget" && owners["PUT"] == "EventEventType")
  }
}
