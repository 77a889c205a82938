"""Registers one device with Microsoft's Python client and prints the result as one line of JSON.

usage: python register.py JSON
  {"transport": "mqtt" | "mqtt-ws", "host": "localhost", "idScope": "0ne..", "registrationId": "..",
   "key": BASE64 | "cert": PEM chain, "privateKey": PEM,
   "payload": any, "timeoutSeconds": 30}

Prints {"outcome": "assigned", assignedHub, deviceId, substatus, payload, status}
    or {"outcome": "error", name, message}, and exits 0 after either.
An invalid request is reported on stderr, with exit code 2.
SSL_CERT_FILE names the root certificates: OpenSSL reads it because the client is given no certificates.
"""

import json
import os
import queue
import sys
import tempfile
import threading
from pathlib import Path

from azure.iot.device import X509, ProvisioningDeviceClient

WEBSOCKETS = {"mqtt": False, "mqtt-ws": True}

FIELDS = {
    "transport": str,
    "host": str,
    "idScope": str,
    "registrationId": str,
    "key": str,
    "cert": str,
    "privateKey": str,
    "payload": object,
    "timeoutSeconds": int,
}

DEFAULT_TIMEOUT_SECONDS = 30


def main(args):
    request = parse(args)
    with tempfile.TemporaryDirectory() as folder:
        outcome = in_time(request["timeoutSeconds"], lambda: register(request, Path(folder)))
    print(json.dumps(outcome), flush=True)
    # The client may still have running threads, so the process ends here.
    os._exit(0)


def parse(args):
    if len(args) != 1:
        misuse("one argument is required: the request as JSON")
    try:
        request = json.loads(args[0])
    except ValueError as error:
        misuse(f"the request is not JSON: {error}")
    if not isinstance(request, dict):
        misuse("the request is not a JSON object")
    for name, value in request.items():
        if name not in FIELDS:
            misuse(f"unknown field {name}")
        if not isinstance(value, FIELDS[name]):
            misuse(f"{name} is not a {FIELDS[name].__name__}")
    for name in ["transport", "host", "idScope", "registrationId"]:
        if not request.get(name):
            misuse(f"{name} is missing")
    if request["transport"] not in WEBSOCKETS:
        misuse(f"transport is one of: {', '.join(WEBSOCKETS)}")
    halves = ("cert" in request) + ("privateKey" in request)
    if halves == 1 or (halves == 2) == ("key" in request):
        misuse("give either key, or cert and privateKey")
    return {"timeoutSeconds": DEFAULT_TIMEOUT_SECONDS, **request}


def in_time(seconds, run):
    """Returns the result of `run`, or a timeout error. The client itself has no time limit."""
    outcomes = queue.SimpleQueue()
    threading.Thread(target=lambda: outcomes.put(run()), daemon=True).start()
    try:
        return outcomes.get(timeout=seconds)
    except queue.Empty:
        return {"outcome": "error", "name": "Timeout", "message": f"no outcome in {seconds} s"}


def register(request, folder):
    try:
        device = client(request, folder)
        if "payload" in request:
            device.provisioning_payload = request["payload"]
        return success(device.register())
    except Exception as error:
        return failure(error)


def client(request, folder):
    of = [request["host"], request["registrationId"], request["idScope"]]
    websockets = WEBSOCKETS[request["transport"]]
    if "key" in request:
        return ProvisioningDeviceClient.create_from_symmetric_key(*of, request["key"], websockets=websockets)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_text(request["cert"])
    key.write_text(request["privateKey"])
    return ProvisioningDeviceClient.create_from_x509_certificate(*of, X509(str(cert), str(key)), websockets=websockets)


def success(result):
    state = result.registration_state
    outcome = {
        "outcome": "assigned",
        "assignedHub": state.assigned_hub,
        "deviceId": state.device_id,
        "substatus": state.sub_status,
        "status": result.status,
    }
    # The client returns the payload as JSON text, and "null" without one.
    payload = json.loads(state.response_payload)
    return outcome if payload is None else {**outcome, "payload": payload}


def failure(error):
    """Returns the class and the messages of the exception and its causes. They do not contain the service's answer."""
    words, cause = [], error
    while cause is not None:
        words.append(str(cause))
        cause = cause.__cause__
    return {"outcome": "error", "name": type(error).__name__, "message": ": ".join(words)}


def misuse(message):
    print(f"register: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
