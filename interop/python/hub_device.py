"""A device, or a module, at its hub with Microsoft's Python client: telemetry, messages, direct methods, twin and uploads. Reads
commands from stdin and prints one answer for each, as lines of JSON.

usage: python hub_device.py JSON
  {"transport": "mqtt" | "mqtt-ws", "hub": "localhost", "deviceId": "..", "moduleId": "..", "key": BASE64}

  {"do": "connect"}                                           connects and subscribes to messages and methods
  {"do": "send", "body": "..", "properties": {..}}            sends telemetry of the content type application/json
  {"do": "message"}                                           waits for the next message: {body, properties, messageId}
  {"do": "method"}                                            waits for the next method, which was answered: {name, payload}
  {"do": "twin"}                                              {"desired": {..}, "reported": {..}}
  {"do": "report", "patch": {..}}                             patches reported properties
  {"do": "upload", "blob": "..", "content": ".."}             uploads a file

A method is answered with the status 207 and its payload as {"echo": payload}.
Answers {"result": any} or {"error": {name, message}}. The client has no time limits; the caller has.
SSL_CERT_FILE names the root certificates of the hub.
"""

import json
import os
import queue
import sys
import urllib.request

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse

import register as registration


def main(args):
    device = Device(json.loads(args[0]))
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
    def __init__(self, request):
        self.messages = queue.SimpleQueue()
        self.methods = queue.SimpleQueue()
        options = {"websockets": registration.WEBSOCKETS[request["transport"]]}
        parts = {"HostName": request["hub"], "DeviceId": request["deviceId"], "ModuleId": request.get("moduleId")}
        parts["SharedAccessKey"] = request["key"]
        text = ";".join(f"{name}={value}" for name, value in parts.items() if value is not None)
        kind = IoTHubModuleClient if "moduleId" in request else IoTHubDeviceClient
        self.is_module = "moduleId" in request
        self.hub = kind.create_from_connection_string(text, **options)

    def connect(self, _command):
        self.hub.connect()
        # Each subscribes, and is back when the hub has answered.
        self.hub.on_message_received = self.messages.put
        self.hub.on_method_request_received = self.execute

    def execute(self, request):
        payload = {"echo": request.payload}
        self.hub.send_method_response(MethodResponse.create_from_method_request(request, 207, payload))
        self.methods.put({"name": request.name, "payload": request.payload})

    def send(self, command):
        message = Message(command["body"], content_encoding="utf-8", content_type="application/json")
        message.custom_properties = command["properties"]
        self.hub.send_message(message)

    def message(self, _command):
        message = self.messages.get()
        return {
            "body": message.data.decode(),
            "properties": message.custom_properties,
            "messageId": message.message_id,
        }

    def method(self, _command):
        return self.methods.get()

    def twin(self, _command):
        return self.hub.get_twin()

    def report(self, command):
        self.hub.patch_twin_reported_properties(command["patch"])

    def upload(self, command):
        info = self.hub.get_storage_info_for_blob(command["blob"])
        url = "https://{hostName}/{containerName}/{blobName}{sasToken}".format(**info)
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "text/plain"}
        request = urllib.request.Request(url, command["content"].encode(), headers, method="PUT")
        with urllib.request.urlopen(request) as response:
            status = response.status
        self.hub.notify_blob_upload_status(info["correlationId"], True, status, "uploaded")
        return status


COMMANDS = {
    "connect": Device.connect,
    "send": Device.send,
    "message": Device.message,
    "method": Device.method,
    "twin": Device.twin,
    "report": Device.report,
    "upload": Device.upload,
}


if __name__ == "__main__":
    main(sys.argv[1:])
