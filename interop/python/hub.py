"""Manages the devices of a hub with Microsoft's Python client. Reads commands from stdin and prints one answer for each, as lines of
JSON.

usage: python hub.py CONNECTION_STRING

  {"do": "device", "id": ".."}                               a device's identity
  {"do": "remove", "id": ".."}                               removes it
  {"do": "twin", "id": ".."}                                 its twin
  {"do": "patch", "id": "..", "patch": {..}, "etag": ".."}   patches the twin if its ETag matches

Answers {"result": any} or {"error": {name, message, status}}; identities and twins have the format of the REST API.
An invalid command is reported on stderr, with exit code 2.
SSL_CERT_FILE names the root certificates of the hub.
"""

import json
import os
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin
from msrest.exceptions import HttpOperationError


def main(args):
    if len(args) != 1:
        misuse("one argument is required: the connection string")
    # The HTTP library of the client reads this variable.
    os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"]
    hub = IoTHubRegistryManager.from_connection_string(args[0])
    for line in sys.stdin:
        command = json.loads(line)
        run = COMMANDS.get(command.get("do")) or misuse(f"the client cannot {command}")
        print(json.dumps(answer(run, hub, command)), flush=True)


def answer(run, hub, command):
    try:
        result = run(hub, command)
        # Includes the fields that only the hub writes.
        return {"result": result and result.serialize(keep_readonly=True)}
    except HttpOperationError as error:
        return {"error": {"name": type(error).__name__, "message": str(error), "status": error.response.status_code}}


def device(hub, command):
    return hub.get_device(command["id"])


def remove(hub, command):
    return hub.delete_device(command["id"])


def twin(hub, command):
    return hub.get_twin(command["id"])


def patch(hub, command):
    return hub.update_twin(command["id"], Twin.deserialize(command["patch"]), command["etag"])


COMMANDS = {"device": device, "remove": remove, "twin": twin, "patch": patch}


def misuse(message):
    print(f"hub: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
