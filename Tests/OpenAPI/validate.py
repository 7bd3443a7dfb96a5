"""Whether the description that a gateway serves is valid OpenAPI 3.1, and its forms say the same.

    validate.py URL
"""

import sys

import requests
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

url = sys.argv[1]
document = requests.get(url + "/openapi.json", timeout=30).json()
OpenAPIV31SpecValidator(document).validate()
assert yaml.safe_load(requests.get(url + "/openapi.yaml", timeout=30).text) == document, "JSON and YAML differ"

older = requests.get(url + "/openapi-3.0.json", timeout=30).json()
assert older["openapi"].startswith("3.0.")
OpenAPIV30SpecValidator(older).validate()


def without_schemas(value):
    """What both versions of OpenAPI write alike."""
    if isinstance(value, dict):
        return {name: without_schemas(member) for name, member in value.items() if name not in ("schema", "schemas")}
    return [without_schemas(element) for element in value] if isinstance(value, list) else value


for part in ["servers", "security", "tags", "paths", "components"]:
    assert without_schemas(older[part]) == without_schemas(document[part]), f"3.0 and 3.1 differ in {part}"
for name, schema in document["components"]["schemas"].items():
    assert older["components"]["schemas"][name].get("properties", {}).keys() == schema.get("properties", {}).keys(), name

operations = [
    (f"{method} {path}", operation)
    for path, item in document["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]
names = [operation["operationId"] for _, operation in operations]
assert len(names) == len(set(names)), "an operationId is there twice"
tags = {tag["name"] for tag in document["tags"]}
for place, operation in operations:
    assert operation["summary"] and not operation["summary"].endswith("."), f"{place}: the summary"
    assert operation["description"], f"{place}: no description"
    assert len(operation["tags"]) == 1 and operation["tags"][0] in tags, f"{place}: the tag"
for name, schema in document["components"]["schemas"].items():
    assert schema["description"], f"{name}: no description"
    for field, value in schema.get("properties", {}).items():
        assert "$ref" in value or value.get("description") or value.get("enum"), f"{name}.{field}: no description"
print(f"{len(operations)} operations, {len(document['components']['schemas'])} schemas")
