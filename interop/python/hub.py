"""Manages the devices of a hub with Microsoft's Python client. Reads commands from stdin and prints one answer for each, as lines of
JSON.

usage: python hub.py CONNECTION_STRING

  {"do": "device", "id": ".."}                               a device's identity
  {"do": "remove", "id": ".."}                               removes it
  {"do": "twin", "id": ".."}                                 its twin
  {"do": "patch", "id": "..", "patch": {..}, "etag": ".."}   patches the twin if its ETag matches
  {"do": "create", "id": "..", "primary": KEY, "secondary": KEY}   creates a device with these keys
  {"do": "createModule", "id": "..", "module": "..", "primary": KEY, "secondary": KEY}   creates a module
  {"do": "invoke", "id": "..", "module": "..", "method": "..", "payload": any}   {"status": .., "payload": any} of the device
  {"do": "message", "id": "..", "body": "..", "messageId": "..", "properties": {..}}   sends a message and requests feedback
  {"do": "feedback"}                                         waits for feedback, and completes it

Answers {"result": any} or {"error": {name, message, status}}; identities and twins have the format of the REST API.
An invalid command is reported on stderr, with exit code 2.
The client sends messages over AMQP, which the emulator's hubs do not support, so "message" and "feedback" are requests over
HTTPS with the client's token.
SSL_CERT_FILE names the root certificates of the hub.
"""

import json
import os
import sys
import time

import requests
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.auth import ConnectionStringAuthentication
from azure.iot.hub.models import CloudToDeviceMethod, Twin
from msrest.exceptions import HttpOperationError

API_VERSION = {"api-version": "2021-04-12"}


def main(args):
    if len(args) != 1:
        misuse("one argument is required: the connection string")
    # The HTTP library of the client reads this variable.
    os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"]
    hub = IoTHubRegistryManager.from_connection_string(args[0])
    hub.auth = ConnectionStringAuthentication(args[0])
    for line in sys.stdin:
        command = json.loads(line)
        run = COMMANDS.get(command.get("do")) or misuse(f"the client cannot {command}")
        print(json.dumps(answer(run, hub, command)), flush=True)


def answer(run, hub, command):
    try:
        result = run(hub, command)
        if hasattr(result, "serialize"):
            # Includes the fields that only the hub writes.
            result = result.serialize(keep_readonly=True)
        return {"result": result}
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


def create(hub, command):
    return hub.create_device_with_sas(command["id"], command["primary"], command["secondary"], "enabled")


def create_module(hub, command):
    keys = [command["primary"], command["secondary"]]
    return hub.create_module_with_sas(command["id"], command["module"], "", *keys)


def invoke(hub, command):
    method = CloudToDeviceMethod(
        method_name=command["method"],
        payload=command["payload"],
        response_timeout_in_seconds=30,
        connect_timeout_in_seconds=10,
    )
    if "module" in command:
        return hub.invoke_device_module_method(command["id"], command["module"], method)
    return hub.invoke_device_method(command["id"], method)


def message(hub, command):
    headers = {
        "iothub-to": f"/devices/{command['id']}/messages/devicebound",
        "iothub-messageid": command["messageId"],
        "iothub-ack": "full",
    }
    headers |= {f"iothub-app-{name}": value for name, value in command["properties"].items()}
    with hub.auth.signed_session() as session:
        response = session.post(
            f"https://{hub.auth['HostName']}/messages/devicebound",
            params=API_VERSION,
            headers=headers,
            data=command["body"],
        )
        response.raise_for_status()


def feedback(hub, _command):
    url = f"https://{hub.auth['HostName']}/messages/servicebound/feedback"
    with hub.auth.signed_session() as session:
        while True:
            response = session.get(url, params=API_VERSION)
            response.raise_for_status()
            if response.status_code == requests.codes.ok:
                token = response.headers["etag"].strip('"')
                session.delete(f"{url}/{token}", params=API_VERSION).raise_for_status()
                return response.json()
            time.sleep(0.1)


COMMANDS = {
    "create": create,
    "createModule": create_module,
    "invoke": invoke,
    "message": message,
    "feedback": feedback,
    "device": device,
    "remove": remove,
    "twin": twin,
    "patch": patch,
}


def misuse(message):
    print(f"hub: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
