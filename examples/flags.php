<?php
// Reads feature flags, keys below flags/, and hears of each change: URL USER PASSWORD. As flags.py, without an extension.
[, $url, $user, $password] = $argv;

/** An answer, and null where the gateway cannot be reached. */
function ask(string $path, array $query): ?array {
    global $url, $user, $password;
    $options = ["ignore_errors" => true, "timeout" => 60, "protocol_version" => 1.0,
        "header" => "Authorization: Basic " . base64_encode("$user:$password")];
    $text = @file_get_contents("$url$path?" . http_build_query($query), context: stream_context_create(["http" => $options]));
    return $text === false ? null : json_decode($text, true);
}

function read_all(): array {
    $flags = [];
    for ($query = ["prefix" => "flags/"];; $query["cursor"] = $page["cursor"]) {
        $page = ask("/keys", $query) ?? exit("no gateway at $GLOBALS[url]\n");
        if (isset($page["error"])) exit("$page[message]\n");
        $flags += array_column($page["keys"], "value", "key");
        if (!isset($page["cursor"])) return [$flags, $page["revision"]];
    }
}

[$flags, $revision] = read_all();
for (;;) {
    ksort($flags);
    echo json_encode((object) $flags, JSON_UNESCAPED_SLASHES), "\n";
    do {
        $changes = ask("/changes", ["prefix" => "flags/", "since" => $revision, "wait" => "30s"]);
        if ($changes === null) sleep(1);
        elseif (isset($changes["error"]) && $changes["code"] !== 11) exit("$changes[message]\n");
        else $revision = $changes["revision"] ?? $revision;
    } while ($changes === null || ($changes["events"] ?? null) === []);
    if (isset($changes["error"])) {
        [$flags, $revision] = read_all(); // That history is gone.
        continue;
    }
    foreach ($changes["events"] as $change) {
        if ($change["type"] === "put") $flags[$change["key"]] = $change["value"];
        else unset($flags[$change["key"]]);
    }
}
