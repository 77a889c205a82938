// An allocation webhook with Node's own server: the first linked hub.
//
// Prints its port on one line, and runs until stdin ends.

import { createServer } from "node:http";

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { linkedHubs } = JSON.parse(Buffer.concat(chunks));
    const body = JSON.stringify({ iotHubHostName: linkedHubs[0] });
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
