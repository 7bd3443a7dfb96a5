"""Has the exchanges of openapi/examples.json with a gateway in front of a new etcd, in their order.

    examples.py URL EXAMPLES            says where an answer is another one than the file has
    examples.py URL EXAMPLES --record   writes the answers into the file

Values of members that are volatile, by the names of the file's list and of the exchange's own, may differ. Where a later
request repeats such a value, it is sent as it was in this run.
"""

import json
import sys

import openapi_schema_validator
import requests

HEADERS = ["ETag", "WWW-Authenticate", "Preference-Applied", "X-Etcd-Revision", "X-Etcd-Create-Revision",
           "X-Etcd-Version", "X-Etcd-Lease", "Retry-After"]
SHORTEST = 10  # what is shorter is no name of anything that a later request would repeat
LONGEST = 200  # what is volatile and longer is recorded in part


class Runner:
    def __init__(self, url, file):
        self.url = url
        self.file = file
        self.document = requests.get(url + "/openapi.json", timeout=30).json()
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if isinstance(operation, dict)
        }
        self.renamed = {}  # volatile values: as recorded, as they are
        self.faults = []

    def fault(self, exchange, text):
        self.faults.append(f"{exchange['operation']}, {exchange['name']}: {text}")

    def rename(self, value, names=None):
        """The value with the volatile ones in it as they are in this run, or as `names` has them."""
        names = self.renamed if names is None else names
        if isinstance(value, dict):
            return {name: self.rename(member, names) for name, member in value.items()}
        if isinstance(value, list):
            return [self.rename(element, names) for element in value]
        if isinstance(value, str):
            for old, new in names.items():
                value = value.replace(old, new)
        return value

    def send(self, exchange):
        method, path, _ = self.operations[exchange["operation"]]
        request = self.rename(exchange["request"])
        for name, value in request.get("path", {}).items():
            path = path.replace("{%s}" % name, requests.utils.quote(value, safe=""))
        body = request.get("body")
        if body is not None and request.get("type", "application/json") == "application/json":
            body = json.dumps(body, separators=(",", ":"))
        headers = dict(request.get("headers", {}))
        if "type" in request:
            headers["Content-Type"] = request["type"]
        if "user" in request:
            headers["Authorization"] = requests.auth._basic_auth_str(*request["user"].split(":"))
        return requests.request(
            method, self.url + path, params=request.get("query"), headers=headers, timeout=60,
            data=body.encode() if body is not None else None)

    def settle_membership(self):
        """Raft drops a change of the membership, and etcd does not answer it, while the one before is applied but not yet
        acknowledged; a write that has passed since proves that it is. Of a lease no revision tells."""
        requests.post(self.url + "/v3/lease/grant", data='{"TTL":"1"}', timeout=30).raise_for_status()

    def answer(self, exchange, response):
        """The answer as the file has it."""
        answer = {"status": response.status_code}
        content = response.headers.get("Content-Type", "")
        if content and content != "application/json":
            answer["type"] = content
        headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
        if headers:
            answer["headers"] = headers
        if exchange.get("omitsBody") or not response.content:
            return answer
        if exchange.get("isStream"):
            answer["lines"] = [json.loads(line) for line in response.text.splitlines() if line]
        elif content == "application/json":
            answer["body"] = response.json()
        else:
            answer["body"] = response.text
        return answer

    def compare(self, exchange, recorded, real, volatile, path=()):
        if path[-1:] and (path[-1] in volatile or ".".join(path[-2:]) in volatile):
            if type(recorded) is not type(real):
                self.fault(exchange, f"{'.'.join(path)} is {real!r}")
            elif isinstance(real, str) and len(recorded) >= SHORTEST and path[-1] != "message":
                self.renamed[recorded] = real  # a message is a sentence: no later request repeats it
        elif isinstance(recorded, dict) and isinstance(real, dict) and recorded.keys() == real.keys():
            for name in recorded:
                self.compare(exchange, recorded[name], real[name], volatile, (*path, name))
        elif isinstance(recorded, list) and isinstance(real, list) and len(recorded) == len(real):
            for one, other in zip(recorded, real):
                self.compare(exchange, one, other, volatile, path)
        elif self.rename(recorded) != real:
            self.fault(exchange, f"{'.'.join(path)} is {json.dumps(real)}, not {json.dumps(recorded)}")

    def record(self, exchange, answer, volatile):
        """Takes the answer in place of the one that the file has, unless only volatile values differ."""
        known = len(self.faults)
        self.compare(exchange, exchange.get("response"), answer, volatile)
        if len(self.faults) > known:
            del self.faults[known:]
            # What other exchanges of the file have, too, goes by the name that it has there.
            names = {real: recorded for recorded, real in self.renamed.items()}
            exchange["response"] = self.rename(self.shorten(answer, volatile), names)

    def shorten(self, value, volatile, path=()):
        if isinstance(value, dict):
            return {name: self.shorten(member, volatile, (*path, name)) for name, member in value.items()}
        if isinstance(value, list):
            return [self.shorten(element, volatile, path) for element in value]
        if isinstance(value, str) and len(value) > LONGEST and path[-1] in volatile:
            return value[:64]
        return value

    def check_schema(self, exchange, answer):
        """Whether the answer is as the description says."""
        _, _, operation = self.operations[exchange["operation"]]
        response = operation["responses"].get(str(answer["status"]))
        if response is None:
            return self.fault(exchange, f"status {answer['status']} is not described")
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].split("/")[-1]]
        if "body" not in answer and "lines" not in answer:
            return None
        content = response["content"]
        media = content.get(answer.get("type", "application/json").split(";")[0]) or content["*/*"]
        schema = {**media["schema"], "components": self.document["components"]}
        for value in answer.get("lines", [answer.get("body")]):
            for error in openapi_schema_validator.OAS31Validator(schema).iter_errors(value):
                self.fault(exchange, f"{error.json_path}: {error.message}")

    def run(self, record):
        for exchange in self.file["exchanges"]:
            volatile = self.file["volatile"] + exchange.get("volatile", [])
            if exchange["operation"].startswith("member"):
                self.settle_membership()
            answer = self.answer(exchange, self.send(exchange))
            self.check_schema(exchange, answer)
            if record:
                self.record(exchange, answer, volatile)
            else:
                self.compare(exchange, exchange["response"], answer, volatile)
        done = {exchange["operation"] for exchange in self.file["exchanges"]}
        for name in self.operations.keys() - done:
            self.faults.append(f"{name} has no example")


def main():
    url, path, *flags = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        runner = Runner(url, json.load(file))
    runner.run("--record" in flags)
    if "--record" in flags:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(runner.file, file, ensure_ascii=False, indent=2)
            file.write("\n")
    print(f"{len(runner.file['exchanges'])} exchanges with {len(runner.operations)} operations")
    for fault in runner.faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if runner.faults else 0)


if __name__ == "__main__":
    main()
