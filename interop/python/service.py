"""Runs service operations with Microsoft's Python client. Reads commands from stdin and prints one answer for each, as lines of JSON.

usage: python service.py JSON                          the credentials:
  {"connectionString": ".."} | {"host": "localhost", "sas": TOKEN} | {"host": "localhost", "bearer": TOKEN}

KIND is "enrollments", "enrollmentGroups" or "registrations":
  {"do": "put", "kind": KIND, "enrollment": {..}, "ifMatch": ".."?}
  {"do": "get", "kind": KIND, "id": ".."}
  {"do": "delete", "kind": KIND, "id": "..", "ifMatch": ".."?}
  {"do": "attestation", "kind": KIND, "id": ".."}
  {"do": "bulk", "kind": KIND, "mode": "..", "items": [..]}
  {"do": "query", "kind": KIND, "query": "..", "group": ".."?, "pageSize": 3?, "pages": 1?, "continuation": ".."?}
      all pages, or this number of pages; for registrations "group" replaces "query"

Answers {"result": any} or {"error": {name, message, status, errorCode, body}}.
The result of a query is {"pages": [[..], ..], "continuation": ".." if there are more pages}.
An invalid command is reported on stderr, with exit code 2.
SSL_CERT_FILE names the root certificates of the service.
"""

import itertools
import json
import os
import sys
import time

from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.iot.deviceprovisioning import DeviceProvisioningClient

IDS = {"enrollments": "registrationId", "enrollmentGroups": "enrollmentGroupId"}


def main(args):
    if len(args) != 1:
        misuse("one argument is required: the credentials as JSON")
    client = operator(parsed(args[0]))
    for line in sys.stdin:
        print(json.dumps(answer(client, parsed(line))), flush=True)


def operator(access):
    # The service's answers as they are, without the client trying again.
    options = {"connection_verify": os.environ["SSL_CERT_FILE"], "retry_total": 0}
    if "connectionString" in access:
        return DeviceProvisioningClient.from_connection_string(access["connectionString"], **options)
    if "sas" in access:
        return DeviceProvisioningClient(access["host"], AzureSasCredential(access["sas"]), **options)
    if "bearer" in access:
        return DeviceProvisioningClient(access["host"], Bearer(access["bearer"]), **options)
    misuse("give one of: connectionString, sas, bearer")


class Bearer:
    """A credential that has its token already."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *_scopes, **_options):
        return AccessToken(self.token, int(time.time()) + 3600)


def answer(client, command):
    operations = {
        "enrollments": client.enrollment,
        "enrollmentGroups": client.enrollment_group,
        "registrations": client.device_registration_state,
    }.get(command.get("kind"))
    run = OPERATIONS.get(command.get("do"))
    if operations is None or run is None:
        misuse(f"the client cannot {command.get('do')} {command.get('kind')}")
    try:
        return {"result": run(operations, command)}
    except HttpResponseError as error:
        return {"error": failure(error)}


def put(operations, command):
    enrollment = command["enrollment"]
    return operations.create_or_update(
        enrollment[IDS[command["kind"]]], enrollment, if_match=command.get("ifMatch")
    )


def get(operations, command):
    return operations.get(command["id"])


def delete(operations, command):
    return operations.delete(command["id"], if_match=command.get("ifMatch"))


def attestation(operations, command):
    return operations.get_attestation_mechanism(command["id"])


def bulk(operations, command):
    return operations.run_bulk_operation({command["kind"]: command["items"], "mode": command["mode"]})


def query(operations, command):
    asked = command["group"] if "group" in command else {"query": command["query"]}
    found = operations.query(asked, top=command.get("pageSize")).by_page(command.get("continuation"))
    pages = [list(page) for page in itertools.islice(found, command.get("pages"))]
    return {"pages": pages, "continuation": found.continuation_token}


OPERATIONS = {
    "put": put,
    "get": get,
    "delete": delete,
    "attestation": attestation,
    "bulk": bulk,
    "query": query,
}


def failure(error):
    try:
        body = json.loads(error.response.text())
    except (AttributeError, ValueError):
        body = None
    return {
        "name": type(error).__name__,
        "message": error.message,
        "status": error.status_code,
        "errorCode": (body or {}).get("errorCode"),
        "body": body,
    }


def parsed(text):
    try:
        return json.loads(text)
    except ValueError as error:
        misuse(f"not JSON: {error}: {text}")


def misuse(message):
    print(f"service: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
