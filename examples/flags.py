"""Reads feature flags, keys below flags/, and hears of each change: URL USER PASSWORD.

Prints the flags whenever they change. Wherever the connection breaks it goes on behind the last change that it has seen;
where that history is gone (410) it reads all flags anew.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

url, user, password = sys.argv[1:]
credentials = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask(path, **query):
    address = f"{url}{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(address, headers={"Authorization": credentials})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def read_all():
    page = ask("/keys", prefix="flags/")
    revision, keys = page["revision"], page["keys"]
    while "cursor" in page:
        page = ask("/keys", prefix="flags/", cursor=page["cursor"])
        keys += page["keys"]
    return {key["key"]: key["value"] for key in keys}, revision


flags, revision = read_all()
while True:
    print(json.dumps(flags, sort_keys=True), flush=True)
    try:
        changes = {"events": []}
        while not changes["events"]:
            changes = ask("/changes", prefix="flags/", since=revision, wait="30s")
            revision = changes["revision"]
    except urllib.error.HTTPError as error:
        if error.code != 410:
            raise
        flags, revision = read_all()
    except OSError:
        time.sleep(1)
    for change in changes["events"]:
        if change["type"] == "put":
            flags[change["key"]] = change["value"]
        else:
            flags.pop(change["key"], None)
