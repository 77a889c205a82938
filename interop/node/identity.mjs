// Prints the keys and the registration id that an enrollment of a TPM needs, read by Microsoft's Node client, as one line of JSON.
//
// usage: node identity.mjs PORT        a TPM that accepts raw commands on this port of 127.0.0.1
//
// Prints {"endorsementKey": BASE64, "storageRootKey": BASE64, "registrationId": ".."}. The client creates the keys
// if the TPM does not have them.

import { promisify } from "node:util";
import { securityClient } from "./tpm.mjs";

const client = securityClient(Number(process.argv[2]));
const ask = (method) => promisify(client[method].bind(client))();

const endorsementKey = (await ask("getEndorsementKey")).toString("base64");
const storageRootKey = (await ask("getStorageRootKey")).toString("base64");
const registrationId = await ask("getRegistrationId");
console.log(JSON.stringify({ endorsementKey, storageRootKey, registrationId }));
process.exit(0); // the client keeps its socket open
