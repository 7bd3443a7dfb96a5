"""What a client that makes its requests up has to leave alone."""

import json
import re

import schemathesis
from hypothesis import strategies
from schemathesis.core import NotSet

# The patterns of the schemas say how numbers are written, not how large they may be.
schemathesis.openapi.format("int64", strategies.integers(-(2**63), 2**63 - 1).map(str))
schemathesis.openapi.format("uint64", strategies.integers(0, 2**64 - 1).map(str))


@schemathesis.deserializer("application/x-ndjson")
def first_line(ctx, response):
    """A line, which is what the schema is about."""
    lines = response.content.splitlines()
    return json.loads(lines[0]) if lines else {}


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    """Lines are text as they are."""
    return value.encode("utf-8", "replace")


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Follows links with the bodies that the description has in an extension, as some generators refuse them."""
    operations = [operation for item in raw_schema["paths"].values() for operation in item.values()
                  if "responses" in operation]
    for operation in operations:
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                if "x-requestBody" in link:
                    link["requestBody"] = link.pop("x-requestBody")


@schemathesis.hook
def filter_case(context, case):
    """Leaves out bodies that are wrong by the schema only: null is taken for what is absent, and a number for one in a
    string; in etcd's own messages for the name of an enum's value, too."""
    is_wrong = case.meta is not None and case.meta.generation.mode.is_negative
    is_of_etcd = case.path.startswith("/v3/")
    if is_wrong and is_of_etcd and isinstance(case.body, NotSet):
        return False  # no body stands for an empty message
    if is_wrong and case.media_type == "application/x-ndjson":
        return False  # what is no text is no body either
    if is_wrong and any(str(value) in ("0", "1") for value in (case.query or {}).values()):
        return False  # false and true, where a parameter is a boolean
    return not (is_wrong and has_lenient_values(case.body, is_of_etcd))


def has_lenient_values(value, of_etcd, member=None):
    if isinstance(value, dict):
        return any(has_lenient_values(each, of_etcd, name) for name, each in value.items())
    if isinstance(value, list):
        return any(has_lenient_values(each, of_etcd, member) for each in value)
    return value is None or type(value) in (int, float) and (of_etcd or member in ("ttl", "wait", "lease", "id"))


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw["operationId"]
    headers = case.headers if case.headers is not None else {}
    case.headers = headers
    if operation in ("lock", "campaign"):
        # They wait for others, who may never give up what they hold.
        headers["Request-Timeout"] = "0.2"
    if case.path.startswith("/v3/") and case.meta is not None and case.meta.generation.mode.is_negative:
        headers.setdefault("Prefer", "handling=strict")  # else names that are unknown are ignored, as by etcd
    body = case.body
    if operation in ("acquireLock", "campaignInElection") and isinstance(body, dict):
        if re.fullmatch("[0-9]+[smh]?", str(body.get("wait"))):
            body["wait"] = "0s"  # for others, as above
    if operation == "getChanges":
        case.query["wait"] = "1s"  # without it there is no end
        case.query.setdefault("since", 1)
    if case.query:
        if case.query.get("watch") in (True, "true"):
            del case.query["watch"]  # without an end
        if "wait" in case.query and str(case.query["wait"])[-1:] in "smh":
            case.query["wait"] = "1s"
    if operation == "alarm" and isinstance(body, dict) and body.get("action") == "ACTIVATE":
        body["action"] = "GET"  # of CORRUPT no etcd recovers by itself


# Which members exclude or need each other in KeyPut, Transaction and Compare. A schema says that with alternatives (oneOf, not), of
# which generators of clients make classes that nobody can use: so the descriptions of the schemas say it, in words.
WITH_ALTERNATIVES = ("putKey", "commitTransaction", "campaignInElection", "proclaimValue", "kvTxn")
ALTERNATIVES = re.compile("|".join((
    r"'(key|value)' \(or '\1_base64'\) is missing", "it occurs as text and as base64: choose one",
    "'lease' names an existing lease, 'ttl' grants a new one: choose one", "are two conditions: choose one",
    "'key' selects one key; 'prefix', .* a range: choose one", "'prefix' is one way to select a range",
    "'all' has no meaning with", "this selects all keys", "apply to a range, not to one 'key'",
    "another field of the same oneof is already set", "the value to compare is missing", "a comparison compares one value", "transactions are nested more than",
)))


@schemathesis.check
def good_requests_are_understood(ctx, response, case):
    """A request body that its schema allows is read; what etcd says of it then is another matter."""
    if case.method == "HEAD" or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code == 400 and response.json()["message"].startswith("the request body"):
        operation = case.operation.definition.raw["operationId"]
        if operation in WITH_ALTERNATIVES and ALTERNATIVES.search(response.json()["message"]):
            return
        raise AssertionError(f"not understood: {response.json()['message']}")
