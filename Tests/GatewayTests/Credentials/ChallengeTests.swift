import Foundation
import TestSupport
import Testing

/// The challenges of 401 answers, and how clients react to them.
@Suite(.timeLimit(.minutes(5)))
struct ChallengeTests {
  private static let basic = "Basic realm=\"etcd\""
  /// For a client that has sent a user and password, and names no type.
  private static let basicAgain = "Basic charset=\"UTF-8\",\trealm=\"etcd\""
  private static let bearer = "Bearer realm=\"etcd\""
  private static let otherBearer = bearer + ", error=\"invalid_token\""
  private static let navigation = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

  @Test func onlySchemesThatMayHelpAreNamed() async throws {
    let wrong = "Basic " + "ann:wrong".base64
    let requests: [(authorization: String?, accept: String?, challenges: [String])] = [
      (nil, nil, [Self.basic, Self.bearer]),
      (nil, Self.navigation, [Self.basic, Self.bearer]),
      (wrong, nil, [Self.basicAgain]),
      (wrong, "*/*", [Self.basicAgain]),
      (wrong, "application/json", [Self.bearer]),
      (wrong.replacing("Basic", with: "bAsIc  "), "application/x-ndjson", [Self.bearer]),
      ("Basic !", "text/plain", [Self.bearer]),
      // From a browser's own dialog.
      (wrong, Self.navigation, [Self.basic, Self.bearer]),
      (wrong, "text/event-stream", [Self.basic, Self.bearer]),
      ("Bearer none.1", nil, [Self.basic, Self.otherBearer]),
      ("Bearer none.1", Self.navigation, [Self.basic, Self.otherBearer]),
      ("none.1", nil, [Self.basic, Self.bearer]),
      ("Digest x", nil, [Self.basic, Self.bearer]),
    ]
    try await withAuth(.v3_5) { _, gateway in
      for request in requests {
        let headers = [("Authorization", request.authorization), ("Accept", request.accept)]
          .compactMap { name, value in value.map { (name, $0) } }
        for (method, path) in [
          ("GET", "/keys/a"), ("GET", "/keys"), ("HEAD", "/keys/a"), ("GET", "/keys/a?watch=true"),
        ] {
          let response = try await gateway.http.request(method, path, headers: headers)
          #expect(
            response.status == 401 && challenges(of: response) == request.challenges, "\(request) \(method) \(path)")
        }
        let response = try await gateway.get(headers: headers)
        #expect(response.status == 401 && challenges(of: response) == request.challenges, "\(request)")
        // An answer before the end of the body has another sender.
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send(
          "POST /v3/kv/put HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
            + headers.map { "\($0): \($1)\r\n" }.joined() + "\r\n{")
        let early = try await connection.receive()
        #expect(early.status == 401 && challenges(of: early) == request.challenges, "\(request)")
        await connection.close()
      }
    }
  }

  @Test func curlAndPythonLogInAndAreToldOfAWrongPassword() async throws {
    try await withAuth(.v3_5) { _, gateway in
      let list = "\(gateway.url)/keys?count_only=true"
      let python = """
        import requests, sys
        print(requests.get(sys.argv[1], auth=("ann", sys.argv[2])).status_code)
        """
      // It takes no challenge but Basic.
      let library = """
        import sys, urllib.error, urllib.request
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, sys.argv[1], "ann", sys.argv[2])
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
        try:
            print(opener.open(sys.argv[1]).status)
        except urllib.error.HTTPError as error:
            print(error.code)
        """
      let runs = [
        (["-u", "ann:annpw"], "200"), (["-u", "ann:wrong"], "401"),
        (["--anyauth", "-u", "ann:annpw"], "200"), (["--anyauth", "-u", "ann:wrong"], "401"),
      ]
      for (arguments, status) in runs {
        let run = try await CommandRun.run(
          "/usr/bin/curl", ["-sS", "-o", "/dev/null", "-w", "%{http_code}", list] + arguments,
          environment: ["no_proxy": "127.0.0.1"])
        #expect(run.exit == .code(0) && run.output == status, "\(arguments): \(run)")
      }
      let passwords = [("annpw", "200\n"), ("wrong", "401\n")]
      for (program, (password, status)) in [python, library].flatMap({ program in passwords.map { (program, $0) } }) {
        let run = try await CommandRun.run(
          "/usr/bin/python3", ["-c", program, list, password], environment: ["no_proxy": "127.0.0.1"])
        #expect(run.exit == .code(0) && run.output == status, "\(run)")
      }
    }
  }

  /// A browser shows its dialog if the user opens a page, again if the password was wrong, and never for a script with
  /// its own password.
  @Test func aBrowserAsksOnlyForItself() async throws {
    try await withAuth(.v3_5) { _, gateway in
      try await withBrowser { browser in
        let page = try await browser.openPage()
        let dialogs = try await page.answerDialogs(with: [("ann", "wrong"), ("ann", "annpw")])
        // A page of the gateway's origin without a policy about scripts.
        try await page.navigate(to: "\(gateway.url)/livez")
        let login = "{ headers: { Accept: 'application/json', Authorization: 'Basic ' + btoa('ann:wrong') } }"
        let fetched = try await page.evaluate("fetch('/keys?count_only=true', \(login)).then((a) => a.status)")
        #expect(fetched == 401 && dialogs.count == 0)

        try await page.navigate(to: "\(gateway.url)/keys?count_only=true")
        #expect(dialogs.count == 2)
        #expect(try await page.text().contains("count"))
      }
    }
  }
}
