// Runs service operations with Microsoft's Node client. Reads commands from stdin and prints one answer for each, as lines of JSON.
//
// usage: node service.mjs JSON                         the credentials:
//   {"connectionString": ".."} | {"host": "localhost", "sas": TOKEN} | {"host": "localhost", "bearer": TOKEN}
//
// KIND is "enrollments", "enrollmentGroups" or "registrations":
//   {"do": "put", "kind": KIND, "enrollment": {..}, "ifMatch": ".."?}
//   {"do": "get", "kind": KIND, "id": ".."}
//   {"do": "delete", "kind": KIND, "id": "..", "ifMatch": ".."?}
//   {"do": "attestation", "kind": KIND, "id": ".."}
//   {"do": "bulk", "kind": "enrollments", "mode": "..", "items": [..]}          the client has no bulk operation for groups
//   {"do": "query", "kind": KIND, "query": "..", "group": ".."?, "pageSize": 3?, "pages": 1?, "continuation": ".."?}
//       all pages, or this number of pages; for registrations "group" replaces "query"
//
// Answers {"result": any} or {"error": {name, message, status, errorCode, body}}.
// The result of a query is {"pages": [[..], ..], "continuation": ".." if there are more pages}.
// An invalid command is reported on stderr, with exit code 2.
// NODE_EXTRA_CA_CERTS names the root certificates: the client has no option for them.

import { createInterface } from "node:readline";
import sdk from "azure-iot-provisioning-service";

const { ProvisioningServiceClient } = sdk;

const METHODS = {
  enrollments: {
    put: "createOrUpdateIndividualEnrollment",
    get: "getIndividualEnrollment",
    delete: "deleteIndividualEnrollment",
    attestation: "getIndividualEnrollmentAttestationMechanism",
    bulk: "runBulkEnrollmentOperation",
    query: "createIndividualEnrollmentQuery",
  },
  enrollmentGroups: {
    put: "createOrUpdateEnrollmentGroup",
    get: "getEnrollmentGroup",
    delete: "deleteEnrollmentGroup",
    attestation: "getEnrollmentGroupAttestationMechanism",
    query: "createEnrollmentGroupQuery",
  },
  registrations: {
    get: "getDeviceRegistrationState",
    delete: "deleteDeviceRegistrationState",
    query: "createEnrollmentGroupDeviceRegistrationStateQuery",
  },
};

const OPERATIONS = {
  // The client sends the object's etag as If-Match.
  put: async (call, { enrollment, ifMatch }) =>
    (await call(ifMatch === undefined ? enrollment : { ...enrollment, etag: ifMatch })).responseBody,
  get: async (call, { id }) => (await call(id)).responseBody,
  delete: async (call, { id, ifMatch }) => (await call(id, ifMatch)) ?? null,
  attestation: async (call, { id }) => (await call(id)).responseBody,
  // The client's promise for a bulk operation never settles, so this uses the callback.
  bulk: (call, { mode, items }) =>
    new Promise((settle, fail) => {
      call({ mode, enrollments: items }, (error, result) => (error ? fail(error) : settle(result)));
    }),
  query: async (call, { query, group, pageSize, pages = Infinity, continuation }) => {
    const asked = query === undefined ? undefined : { query };
    const results = group === undefined ? call(asked, pageSize) : call(asked, group, pageSize);
    const found = [];
    let token = continuation;
    do {
      // Without the token the client's next() starts at the first page again.
      found.push((await results.next(token)).responseBody);
      token = results.continuationToken;
    } while (results.hasMoreResults && found.length < pages);
    return { pages: found, continuation: token };
  },
};

await main(process.argv.slice(2));

async function main(args) {
  if (args.length !== 1) misuse("one argument is required: the credentials as JSON");
  const client = operator(parsed(args[0]));
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(client, parsed(line)))}\n`);
  }
  process.exit(0); // the client keeps its connection open
}

function operator({ connectionString, host, sas, bearer }) {
  if (connectionString !== undefined) return ProvisioningServiceClient.fromConnectionString(connectionString);
  if (sas !== undefined) return new ProvisioningServiceClient({ host, sharedAccessSignature: sas });
  if (bearer === undefined) misuse("give one of: connectionString, sas, bearer");
  const credential = { getToken: async () => ({ token: bearer, expiresOnTimestamp: Date.now() + 3_600_000 }) };
  return ProvisioningServiceClient.fromTokenCredential(host, credential);
}

async function answer(client, command) {
  const method = METHODS[command.kind]?.[command.do];
  if (method === undefined) misuse(`the client cannot ${command.do} ${command.kind}`);
  try {
    return { result: await OPERATIONS[command.do](client[method].bind(client), command) };
  } catch (error) {
    return { error: failure(error) };
  }
}

function failure(error) {
  const body = error.responseBody && parsed(error.responseBody);
  const { name, message } = error;
  return { name, message, status: error.response?.statusCode, errorCode: body?.errorCode, body };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    misuse(`not JSON: ${error.message}: ${text}`);
  }
}

function misuse(message) {
  process.stderr.write(`service: ${message}\n`);
  process.exit(2);
}
