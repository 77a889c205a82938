// Registers one device with Microsoft's Node client and prints the result as one line of JSON.
//
// usage: node register.mjs JSON
//   {"transport": "http" | "mqtt" | "mqtt-ws" | "amqp" | "amqp-ws", "host": "localhost", "idScope": "0ne..", "registrationId": "..",
//    "key": BASE64 | "cert": PEM chain, "privateKey": PEM | "tpmPort": TCP port of a TPM on 127.0.0.1,
//    "payload": any, "timeoutSeconds": 30}
// With a TPM the registration id is optional.
//
// Prints {"outcome": "assigned", assignedHub, deviceId, substatus, payload, status}
//     or {"outcome": "error", name, message, status, errorCode, body}, and exits 0 after either.
// An invalid request is reported on stderr, with exit code 2.
// NODE_EXTRA_CA_CERTS names the root certificates: the client has no option for them.

import { writeFileSync } from "node:fs";
import sdk from "azure-iot-provisioning-device";
import { securityClient } from "./tpm.mjs";

const TRANSPORTS = {
  http: async () => new (await load("azure-iot-provisioning-device-http")).Http(),
  mqtt: async () => new (await load("azure-iot-provisioning-device-mqtt")).Mqtt(),
  "mqtt-ws": async () => new (await load("azure-iot-provisioning-device-mqtt")).MqttWs(),
  amqp: async () => new (await load("azure-iot-provisioning-device-amqp")).Amqp(),
  "amqp-ws": async () => new (await load("azure-iot-provisioning-device-amqp")).AmqpWs(),
};

const FIELDS = {
  transport: "string",
  host: "string",
  idScope: "string",
  registrationId: "string",
  key: "string",
  cert: "string",
  privateKey: "string",
  tpmPort: "number",
  payload: "any",
  timeoutSeconds: "number",
};

const DEFAULT_TIMEOUT_SECONDS = 30;

await main(process.argv.slice(2));

async function main(args) {
  const request = parse(args);
  const device = sdk.ProvisioningDeviceClient.create(
    request.host,
    request.idScope,
    await TRANSPORTS[request.transport](),
    await security(request),
  );
  if (request.payload !== undefined) device.setProvisioningPayload(request.payload);

  // Exceptions that the client throws inside its callbacks would otherwise end the process without a report.
  process.once("uncaughtException", (error) => print(failure(error)));
  setTimeout(
    () => print({ outcome: "error", name: "Timeout", message: `no outcome in ${request.timeoutSeconds} s` }),
    request.timeoutSeconds * 1000,
  );
  device.register((error, state) => print(error ? failure(error) : success(state)));
}

function parse(args) {
  if (args.length !== 1) misuse("one argument is required: the request as JSON");
  let request;
  try {
    request = JSON.parse(args[0]);
  } catch (error) {
    misuse(`the request is not JSON: ${error.message}`);
  }
  if (request === null || typeof request !== "object" || Array.isArray(request)) {
    misuse("the request is not a JSON object");
  }
  for (const [name, value] of Object.entries(request)) {
    const type = FIELDS[name] ?? misuse(`unknown field ${name}`);
    if (type !== "any" && typeof value !== type) misuse(`${name} is not a ${type}`);
  }
  const tpm = request.tpmPort !== undefined;
  for (const name of ["transport", "host", "idScope", ...(tpm ? [] : ["registrationId"])]) {
    if (!request[name]) misuse(`${name} is missing`);
  }
  if (!Object.hasOwn(TRANSPORTS, request.transport)) {
    misuse(`transport is one of: ${Object.keys(TRANSPORTS).join(", ")}`);
  }
  const certificate = request.cert !== undefined && request.privateKey !== undefined;
  const half = !certificate && (request.cert !== undefined || request.privateKey !== undefined);
  if (half || [certificate, request.key !== undefined, tpm].filter(Boolean).length !== 1) {
    misuse("give one of: key, cert and privateKey, tpmPort");
  }
  return { timeoutSeconds: DEFAULT_TIMEOUT_SECONDS, ...request };
}

async function security({ registrationId, key, cert, privateKey, tpmPort }) {
  if (tpmPort !== undefined) return securityClient(tpmPort, registrationId);
  if (key !== undefined) {
    const { SymmetricKeySecurityClient } = await load("azure-iot-security-symmetric-key");
    return new SymmetricKeySecurityClient(registrationId, key);
  }
  const { X509Security } = await load("azure-iot-security-x509");
  return new X509Security(registrationId, { cert, key: privateKey });
}

async function load(module) {
  return (await import(module)).default;
}

// With a TPM the client returns the whole answer, otherwise the registration state in it.
function success(result) {
  const { assignedHub, deviceId, substatus, payload, status } = result.registrationState ?? result;
  return { outcome: "assigned", assignedHub, deviceId, substatus, payload, status };
}

// The service's answer is in `responseBody` (text) after a refused request,
// and in `result` (parsed, or text) after a failed registration.
// The first three digits of the service's error code are the HTTP status.
function statusOf(body) {
  return body === undefined ? undefined : Math.floor(body.errorCode / 1000);
}

function failure(error) {
  // Over AMQP the client returns the AMQP error itself: its description is the answer of the service.
  const refused = error.condition !== undefined;
  const body = parsed(refused ? error.description : (error.responseBody ?? error.result));
  return {
    outcome: "error",
    name: refused ? error.condition : error.name,
    message: error.message,
    status: refused ? statusOf(body) : (error.response ?? error.transportObject)?.statusCode,
    errorCode: body?.errorCode ?? body?.registrationState?.errorCode,
    body,
  };
}

function parsed(body) {
  if (typeof body !== "string") return body;
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

// The client may still have open sockets and timers, so the process ends here.
function print(outcome) {
  writeFileSync(process.stdout.fd, `${JSON.stringify(outcome)}\n`);
  process.exit(0);
}

function misuse(message) {
  process.stderr.write(`register: ${message}\n`);
  process.exit(2);
}
