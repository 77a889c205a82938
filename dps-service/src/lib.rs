//! The operator's client for the Azure IoT Hub Device Provisioning Service: enrollments and enrollment groups.
