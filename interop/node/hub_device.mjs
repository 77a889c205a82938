// A device, or a module, at its hub with Microsoft's Node client: telemetry, messages, direct methods, twin and uploads. Reads
// commands from stdin and prints one answer for each, as lines of JSON. The commands are described in python/hub_device.py; the
// only method is "echo".
//
// usage: node hub_device.mjs JSON
// NODE_EXTRA_CA_CERTS names the root certificates: the client has no option for them.

import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import device from "azure-iot-device";
import transports from "azure-iot-device-mqtt";

const { Client, Message, ModuleClient } = device;
const request = JSON.parse(process.argv[2]);
const messages = queue();
const methods = queue();

const parts = { HostName: request.hub, DeviceId: request.deviceId, ModuleId: request.moduleId };
const text = Object.entries({ ...parts, SharedAccessKey: request.key })
  .filter(([, value]) => value !== undefined)
  .map(([name, value]) => `${name}=${value}`)
  .join(";");
const transport = request.transport === "mqtt" ? transports.Mqtt : transports.MqttWs;
const hub = (request.moduleId === undefined ? Client : ModuleClient).fromConnectionString(text, transport);
let twin;

const COMMANDS = {
  async connect() {
    await hub.open();
    if (request.moduleId === undefined) {
      hub.on("message", (message) => {
        hub.complete(message);
        const properties = message.properties.propertyList.map(({ key, value }) => [key, value]);
        messages.put({
          body: message.getBytes().toString(),
          properties: Object.fromEntries(properties),
          messageId: message.messageId,
        });
      });
    }
    const onMethod = request.moduleId === undefined ? "onDeviceMethod" : "onMethod";
    hub[onMethod]("echo", (call, response) => {
      response.send(207, { echo: call.payload }, () => methods.put({ name: call.methodName, payload: call.payload }));
    });
    twin = await hub.getTwin();
  },
  async send({ body, properties }) {
    const message = new Message(body);
    message.contentType = "application/json";
    message.contentEncoding = "utf-8";
    for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);
    await hub.sendEvent(message);
  },
  message: () => messages.get(),
  method: () => methods.get(),
  async twin() {
    await twin.get();
    const { desired, reported } = JSON.parse(JSON.stringify(twin.properties));
    return { desired, reported };
  },
  report: ({ patch }) => new Promise((done, fail) => {
    twin.properties.reported.update(patch, (error) => (error ? fail(error) : done()));
  }),
  async upload({ blob, content }) {
    const bytes = Buffer.from(content);
    await hub.uploadToBlob(blob, Readable.from([bytes]), bytes.length);
    return 201;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const run = COMMANDS[command.do] ?? misuse(`the client cannot ${line}`);
  let answer;
  try {
    answer = { result: (await run(command)) ?? null };
  } catch (error) {
    answer = { error: { name: error.name, message: error.message } };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0); // the client keeps its socket open

// Items in the order in which they were put, each given once.
function queue() {
  const items = [];
  const waiting = [];
  return {
    put: (item) => (waiting.length > 0 ? waiting.shift()(item) : items.push(item)),
    get: () => (items.length > 0 ? items.shift() : new Promise((done) => waiting.push(done))),
  };
}

function misuse(message) {
  process.stderr.write(`hub_device: ${message}\n`);
  process.exit(2);
}
