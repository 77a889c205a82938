// Runs service operations with the official Node client: each line of stdin is a command as JSON, answered by one line.
//
// usage: node service.mjs JSON                         how the operator comes in:
//   {"connectionString": ".."} | {"host": "localhost", "sas": TOKEN} | {"host": "localhost", "bearer": TOKEN}
//
// KIND is "enrollments", "enrollmentGroups" or "registrations":
//   {"do": "put", "kind": KIND, "enrollment": {..}, "ifMatch": ".."?}
//   {"do": "get", "kind": KIND, "id": ".."}
//   {"do": "delete", "kind": KIND, "id": "..", "ifMatch": ".."?}
//   {"do": "attestation", "kind": KIND, "id": ".."}
//   {"do": "bulk", "kind": "enrollments", "mode": "..", "items": [..]}          the client has none for groups
//   {"do": "query", "kind": KIND, "query": "..", "group": ".."?, "pageSize": 3?, "pages": 1?, "continuation": ".."?}
//       all pages, or this many; for registrations the id of their group instead of a query
//
// Answers {"result": any} or {"error": {name, message, status, errorCode, body}}.
// A query's result is {"pages": [[..], ..], "continuation": ".." where there is more}.
// What makes no sense goes to stderr, exit code 2.
// The CA of the service comes by NODE_EXTRA_CA_CERTS: the client has no setting for it.

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
  // The client makes the object's etag the If-Match of the request.
  put: async (call, { enrollment, ifMatch }) =>
    (await call(ifMatch === undefined ? enrollment : { ...enrollment, etag: ifMatch })).responseBody,
  get: async (call, { id }) => (await call(id)).responseBody,
  delete: async (call, { id, ifMatch }) => (await call(id, ifMatch)) ?? null,
  attestation: async (call, { id }) => (await call(id)).responseBody,
  // The client's promise for a bulk operation is never settled: only a callback hears of it.
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
      // As a promise, the client's next() without the token starts again at the first page.
      found.push((await results.next(token)).responseBody);
      token = results.continuationToken;
    } while (results.hasMoreResults && found.length < pages);
    return { pages: found, continuation: token };
  },
};

await main(process.argv.slice(2));

async function main(args) {
  if (args.length !== 1) misuse("one argument wanted: how to come in, as JSON");
  const client = operator(parsed(args[0]));
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(client, parsed(line)))}\n`);
  }
  process.exit(0); // the client holds its connection open
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
