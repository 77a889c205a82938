//! Custom allocation policies for the Azure IoT Hub Device Provisioning Service: the trait, ready-made policies, and the webhook that hosts one.
