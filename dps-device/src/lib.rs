//! A device's client for the Azure IoT Hub Device Provisioning Service: prove who you are, learn your IoT hub.
