"""Registers one device with Microsoft's Python client and connects it to its hub. Reads commands from stdin and prints
one answer for each, as lines of JSON.

usage: python device_on_hub.py JSON                             the request, as for register.py

  {"do": "register"}                  the result, as printed by register.py; "connect" uses its hub
  {"do": "connect"}                   connects to the assigned hub and subscribes to desired properties
  {"do": "twin"}                      {"desired": {..}, "reported": {..}}
  {"do": "report", "patch": {..}}     patches reported properties
  {"do": "desired"}                   waits for the next patch of the desired properties

Answers {"result": any} or {"error": {name, message}}. The client has no time limits; the caller has.
An invalid command is reported on stderr, with exit code 2.
SSL_CERT_FILE names the root certificates of the service and the hub.
"""

import json
import os
import queue
import sys
import tempfile
from pathlib import Path

from azure.iot.device import X509, IoTHubDeviceClient

import register as registration


def main(args):
    request = registration.parse(args)
    with tempfile.TemporaryDirectory() as folder:
        device = Device(request, Path(folder))
        for line in sys.stdin:
            command = json.loads(line)
            run = COMMANDS.get(command.get("do")) or registration.misuse(f"the client cannot {command}")
            print(json.dumps(answer(run, device, command)), flush=True)
    # The client may still have running threads.
    os._exit(0)


def answer(run, device, command):
    try:
        return {"result": run(device, command)}
    except Exception as error:
        reported = registration.failure(error)
        return {"error": {"name": reported["name"], "message": reported["message"]}}


class Device:
    def __init__(self, request, folder):
        self.request = request
        self.folder = folder
        self.assigned = None
        self.hub = None
        self.patches = queue.SimpleQueue()

    def register(self, _command):
        outcome = registration.register(self.request, self.folder)
        if outcome["outcome"] == "assigned":
            self.assigned = {"hostname": outcome["assignedHub"], "device_id": outcome["deviceId"]}
        return outcome

    def connect(self, _command):
        options = {**self.assigned, "websockets": registration.WEBSOCKETS[self.request["transport"]]}
        if "key" in self.request:
            self.hub = IoTHubDeviceClient.create_from_symmetric_key(symmetric_key=self.request["key"], **options)
        else:
            # The files that the registration left.
            x509 = X509(str(self.folder / "cert.pem"), str(self.folder / "key.pem"))
            self.hub = IoTHubDeviceClient.create_from_x509_certificate(x509=x509, **options)
        self.hub.connect()
        # Subscribes, and is back when the hub has answered.
        self.hub.on_twin_desired_properties_patch_received = self.patches.put

    def twin(self, _command):
        return self.hub.get_twin()

    def report(self, command):
        self.hub.patch_twin_reported_properties(command["patch"])

    def desired(self, _command):
        return self.patches.get()


COMMANDS = {
    "register": Device.register,
    "connect": Device.connect,
    "twin": Device.twin,
    "report": Device.report,
    "desired": Device.desired,
}


if __name__ == "__main__":
    main(sys.argv[1:])
