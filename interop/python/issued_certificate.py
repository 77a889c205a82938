"""Lives the life of a device with issued certificates, written from the specification: paho-mqtt, cryptography, curl and openssl.

usage: python issued_certificate.py JSON
  {"httpsPort": 443, "mqttPort": 8883, "idScope": "0ne..", "registrationId": "..", "key": BASE64,
   "register": "mqtt" | "https"}

1. Makes a key pair and a certificate request: with cryptography for MQTT, with openssl for HTTPS.
2. Registers with the request: over MQTT with paho, or over HTTPS with curl. Polls until the device is assigned.
3. Checks that the chain verifies, and connects to the hub over MQTT with it.
4. Makes a new key pair, renews the certificate at the hub, and connects with the new one.
Prints {"assignedHub": .., "first": serial number, "second": serial number} and exits 0.
SSL_CERT_FILE names the root certificates of the server.
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

API_VERSION = "2026-11-01"
TIMEOUT = 30


def main(request):
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(life(request, Path(folder))), flush=True)


def life(request, folder):
    device = request["registrationId"]
    if request["register"] == "https":
        csr = request_with_openssl(device, folder / "first.key")
        state = register_with_curl(request, csr)
    else:
        csr = request_with_cryptography(device, folder / "first.key")
        state = register_with_paho(request, csr)
    hub = state["assignedHub"]
    first = keep_chain(state["issuedCertificateChain"], folder / "first.pem", folder)

    connection = at_hub(request, hub, folder, "first")
    csr = request_with_cryptography(device, folder / "second.key")
    second = keep_chain(renew(connection, device, csr), folder / "second.pem", folder)
    connection.close()

    connection = at_hub(request, hub, folder, "second")
    connection.close()
    return {"assignedHub": hub, "first": first, "second": second}


def request_with_cryptography(device, key_file):
    key = ec.generate_private_key(ec.SECP384R1())
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA384())
    return base64.b64encode(csr.public_bytes(serialization.Encoding.DER)).decode()


def request_with_openssl(device, key_file):
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", key_file, "-subj", f"/CN={device}", "-outform", "DER"]
    der = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout
    return base64.b64encode(der).decode()


def token(resource, key, policy="registration"):
    resource = urllib.parse.quote(resource, safe="")
    expiry = int(time.time()) + 3600
    signed = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(signed), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}"


def register_with_curl(request, csr):
    scope, device = request["idScope"], request["registrationId"]
    base = f"https://localhost:{request['httpsPort']}/{scope}/registrations/{device}"
    body = json.dumps({"registrationId": device, "csr": csr})
    status, answer = curl(request, f"{base}/register", ["--request", "PUT", "--data", body])
    assert status == 202, (status, answer)
    assert "registrationState" not in answer, answer
    operation = answer["operationId"]
    for _ in range(TIMEOUT):
        status, answer = curl(request, f"{base}/operations/{operation}", [])
        if status == 200:
            assert answer["status"] == "assigned", answer
            return answer["registrationState"]
        assert status == 202, (status, answer)
        time.sleep(1)
    raise TimeoutError("the device was not assigned")


def curl(request, url, options):
    scope, device = request["idScope"], request["registrationId"]
    authorization = token(f"{scope}/registrations/{device}", request["key"])
    command = ["curl", "--silent", "--show-error", "--cacert", os.environ["SSL_CERT_FILE"], "--max-time", str(TIMEOUT)]
    command += ["--header", "Content-Type: application/json", "--header", f"Authorization: {authorization}"]
    command += ["--write-out", "\n%{http_code}", *options, f"{url}?api-version={API_VERSION}"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    body, status = text.rsplit("\n", 1)
    return int(status), json.loads(body)


def register_with_paho(request, csr):
    scope, device = request["idScope"], request["registrationId"]
    user = f"{scope}/registrations/{device}/api-version={API_VERSION}"
    password = token(f"{scope}/registrations/{device}", request["key"])
    connection = Connection(device, user, password)
    connection.open("localhost", request["mqttPort"])
    connection.subscribe("$dps/registrations/res/#")
    # As the unified C client: the body has no registrationId.
    connection.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", {"csr": csr})
    topic, answer = connection.answer()
    assert topic.startswith("$dps/registrations/res/202/?$rid=1"), (topic, answer)
    operation = answer["operationId"]
    for _ in range(TIMEOUT):
        status = f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}"
        connection.publish(status, {})
        topic, answer = connection.answer()
        if topic.startswith("$dps/registrations/res/200/"):
            assert answer["status"] == "assigned", answer
            connection.close()
            return answer["registrationState"]
        time.sleep(1)
    raise TimeoutError("the device was not assigned")


def keep_chain(chain, file, folder):
    """Verifies the chain with openssl, writes it, and returns the serial number of the first certificate."""
    assert len(chain) == 3, chain
    pem = [f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n" for text in chain]
    pem = [x509.load_pem_x509_certificate(text.encode()).public_bytes(serialization.Encoding.PEM) for text in pem]
    leaf, intermediate, root = folder / "leaf.pem", folder / "intermediate.pem", folder / "root.pem"
    for path, text in zip((leaf, intermediate, root), pem):
        path.write_bytes(text)
    verify = ["openssl", "verify", "-purpose", "sslclient", "-x509_strict"]
    verify += ["-CAfile", root, "-untrusted", intermediate, leaf]
    subprocess.run(verify, check=True, stdout=subprocess.PIPE)
    # The device presents the leaf and the intermediate.
    file.write_bytes(pem[0] + pem[1])
    return format(x509.load_pem_x509_certificate(pem[0]).serial_number, "x")


def at_hub(request, hub, folder, name):
    device = request["registrationId"]
    connection = Connection(device, f"{hub}/{device}/?api-version=2025-08-01-preview", None)
    connection.present(folder / f"{name}.pem", folder / f"{name}.key")
    connection.open(hub, request["mqttPort"])
    return connection


def renew(connection, device, csr):
    connection.subscribe("$iothub/credentials/res/#")
    topic = "$iothub/credentials/POST/issueCertificate/?$rid=renew-1"
    connection.publish(topic, {"id": device, "csr": csr})
    topic, accepted = connection.answer()
    assert topic == "$iothub/credentials/res/202/?$rid=renew-1", (topic, accepted)
    assert accepted["operationExpires"], accepted
    topic, issued = connection.answer()
    assert topic == "$iothub/credentials/res/200/?$rid=renew-1", (topic, issued)
    assert issued["correlationId"] == accepted["correlationId"], (accepted, issued)
    return issued["certificates"]


class Connection:
    """An MQTT 3.1.1 connection whose steps wait for their acknowledgement."""

    def __init__(self, client_id, user, password):
        self.events = queue.Queue()
        self.context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        self.client = mqtt.Client(client_id=client_id, clean_session=True, protocol=mqtt.MQTTv311)
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda client, data, flags, code: self.events.put(("connected", code))
        self.client.on_subscribe = lambda client, data, mid, granted: self.events.put(("subscribed", granted))
        self.client.on_message = lambda client, data, message: self.events.put(("message", message))

    def present(self, chain, key):
        self.context.load_cert_chain(chain, key)

    def open(self, host, port):
        self.client.tls_set_context(self.context)
        self.client.connect(host, port, keepalive=60)
        self.client.loop_start()
        assert self.wait("connected") == 0, "the server refused the connection"

    def subscribe(self, topic):
        self.client.subscribe(topic, qos=1)
        assert self.wait("subscribed")[0] == 1, topic

    def publish(self, topic, body):
        self.client.publish(topic, json.dumps(body), qos=1).wait_for_publish(TIMEOUT)

    def answer(self):
        message = self.wait("message")
        return message.topic, json.loads(message.payload)

    def wait(self, expected):
        kind, event = self.events.get(timeout=TIMEOUT)
        assert kind == expected, (kind, event)
        return event

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
