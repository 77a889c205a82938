//! The shared words of the Azure IoT Hub Device Provisioning Service: enrollments, registration, allocation, ids, keys and SAS. No I/O.
