"""Looks after a hub with the official Python client: each line of stdin is a command as JSON, answered by one line.

usage: python hub.py CONNECTION_STRING

  {"do": "device", "id": ".."}                               a device's identity
  {"do": "remove", "id": ".."}                               removes it
  {"do": "twin", "id": ".."}                                 its twin
  {"do": "patch", "id": "..", "patch": {..}, "etag": ".."}   patches the twin, if it has this ETag

Answers {"result": any} or {"error": {name, message, status}}; identities and twins are as the REST API has them.
What makes no sense goes to stderr, exit code 2.
The CA of the hub comes by SSL_CERT_FILE.
"""

import json
import os
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin
from msrest.exceptions import HttpOperationError


def main(args):
    if len(args) != 1:
        misuse("one argument wanted: the connection string")
    # The client's HTTP looks here.
    os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"]
    hub = IoTHubRegistryManager.from_connection_string(args[0])
    for line in sys.stdin:
        command = json.loads(line)
        run = COMMANDS.get(command.get("do")) or misuse(f"the client cannot {command}")
        print(json.dumps(answer(run, hub, command)), flush=True)


def answer(run, hub, command):
    try:
        result = run(hub, command)
        # With what only the hub writes.
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
