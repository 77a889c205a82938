# Registers the device toaster-1 with an emulator that was started with --well-known. Needs the package azure-iot-device.
import base64, hashlib, hmac
from azure.iot.device import ProvisioningDeviceClient

group_key = base64.b64decode("ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tZ3JvdXAta2V5")  # of the group "well-known"
key = base64.b64encode(hmac.new(group_key, b"toaster-1", hashlib.sha256).digest()).decode()
client = ProvisioningDeviceClient.create_from_symmetric_key(
    "localhost", "toaster-1", "0ne00000001", key, server_verification_cert=open("ca.pem").read())
print(client.register().registration_state.assigned_hub)
