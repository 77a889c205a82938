//! MQTT 3.1.1 packets over any byte stream, and MQTT over WebSocket as such a stream.
