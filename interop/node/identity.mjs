// Prints, as one JSON line, what an operator must know of a TPM to enroll it, as the official Node client tells it.
//
// usage: node identity.mjs PORT        a TPM that takes its commands as they are, on 127.0.0.1
//
// Prints {"endorsementKey": BASE64, "storageRootKey": BASE64, "registrationId": ".."}. The client creates keys that the
// TPM does not have yet.

import { promisify } from "node:util";
import { securityClient } from "./tpm.mjs";

const client = securityClient(Number(process.argv[2]));
const ask = (method) => promisify(client[method].bind(client))();

const endorsementKey = (await ask("getEndorsementKey")).toString("base64");
const storageRootKey = (await ask("getStorageRootKey")).toString("base64");
const registrationId = await ask("getRegistrationId");
console.log(JSON.stringify({ endorsementKey, storageRootKey, registrationId }));
process.exit(0); // the client holds its socket open
