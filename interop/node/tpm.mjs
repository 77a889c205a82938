// Microsoft's TPM client with a TPM that accepts raw commands over TCP, such as swtpm.

import { connect } from "node:net";
import tpmClient from "azure-iot-security-tpm";
import tss from "tss.js";

// Without a registration id the client derives one from the endorsement key.
export function securityClient(port, registrationId) {
  const tpm = new tss.Tpm(true);
  tpm.device = new RawTcpDevice(port);
  return new tpmClient.TpmSecurityClient(registrationId, tpm);
}

// The interface that tss.js requires. Its own implementations support /dev/tpm0 and Microsoft's simulator only.
class RawTcpDevice {
  constructor(port) {
    this.port = port;
  }

  connect(done) {
    this.socket = connect(this.port, "127.0.0.1", () => done(null));
    return null;
  }

  dispatchCommand(command, done) {
    let answer = Buffer.alloc(0);
    const take = (piece) => {
      answer = Buffer.concat([answer, piece]);
      // Bytes 2 to 5 are the length of the whole answer.
      if (answer.length < 6 || answer.length < answer.readUInt32BE(2)) return;
      this.socket.off("data", take);
      done(null, answer);
    };
    this.socket.on("data", take);
    this.socket.write(command);
  }

  close() {
    this.socket.end();
  }
}
