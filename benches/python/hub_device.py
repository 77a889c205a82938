"""Devices at a hub with Microsoft's Python client, for the benchmark `hub`. Prints
`messages-a-second CPU-microseconds-a-message resident-bytes-a-connection`.

usage: python hub_device.py HUB KEY CONNECTIONS MESSAGES

The first device sends the messages with QoS 1, 32 of them in flight; then all devices are connected and idle while the resident memory
is measured, and until stdin ends. The devices are `bench-0`, `bench-1` and so on, with keys derived from KEY. The client connects to localhost on port 8883.
SSL_CERT_FILE names the root certificates.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import sys
import time

from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

WINDOW = 32
PAYLOAD = '{"temperature":21.5,"humidity":40,"device":"bench","sequence":123456}'


async def main(hub, key, connections, messages):
    first = client(hub, key, 0)
    await first.connect()
    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send(first, messages // WINDOW) for _ in range(WINDOW)))
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    await first.shutdown()

    before = resident()
    clients = [client(hub, key, number) for number in range(connections)]
    for one in clients:
        await one.connect()
    memory = (resident() - before) / connections
    print(messages / took, cpu * 1e6 / messages, memory, flush=True)
    sys.stdin.read()
    # The client may still have running threads.
    os._exit(0)


def client(hub, key, number):
    device = f"bench-{number}"
    derived = base64.b64encode(hmac.new(base64.b64decode(key), device.encode(), hashlib.sha256).digest()).decode()
    text = f"HostName={hub};DeviceId={device};SharedAccessKey={derived};GatewayHostName=localhost"
    return IoTHubDeviceClient.create_from_connection_string(text)


async def send(device, count):
    for _ in range(count):
        await device.send_message(Message(PAYLOAD))


def resident():
    """Returns the resident memory of this process in bytes (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
