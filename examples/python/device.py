"""Registers toaster-1 with an emulator that was started with --well-known, with Microsoft's device SDK (pip install azure-iot-device)."""

from azure.iot.device import ProvisioningDeviceClient

device = ProvisioningDeviceClient.create_from_symmetric_key(
    provisioning_host="localhost",  # Azure: global.azure-devices-provisioning.net
    registration_id="toaster-1",
    id_scope="0ne00000001",
    symmetric_key="RIbfJq5uGxBLvP5kbpelDxMq9Zbyys9bftFXvFPDydo=",
)
result = device.register()
print(result.status, result.registration_state.device_id, result.registration_state.assigned_hub)
