"""Creates an instance with Microsoft's Python client for the control plane, uses it, and deletes it.

usage: python instances.py JSON        {"endpoint": "https://localhost", "token": the contributor's token, "name": ".."}

Prints one line of JSON: what each step returned.
REQUESTS_CA_BUNDLE and SSL_CERT_FILE name the root certificates of the emulator.
"""

import json
import sys
import time
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.mgmt.iothubprovisioningservices import IotDpsClient
from azure.mgmt.iothubprovisioningservices.models import (
    IotDpsPropertiesDescription,
    IotDpsSkuInfo,
    IotHubDefinitionDescription,
    OperationInputs,
    ProvisioningServiceDescription,
    TagsResource,
)

GROUP = "tests"
SUBSCRIPTION = "91d12660-3dec-467a-be2a-213b5544ddc0"
KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY="
POLICY = "provisioningserviceowner"


class Credential:
    """The token that the emulator was started with, in place of Entra's."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **options):
        return AccessToken(self.token, int(time.time()) + 3600)

    def get_token_info(self, *scopes, **options):
        from azure.core.credentials import AccessTokenInfo

        return AccessTokenInfo(self.token, int(time.time()) + 3600)


def hub(name):
    connection = f"HostName={name};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"
    return IotHubDefinitionDescription(connection_string=connection, location="eastus")


def main(asked):
    endpoint, name = asked["endpoint"], asked["name"]
    client = IotDpsClient(Credential(asked["token"]), SUBSCRIPTION, base_url=endpoint)
    dps = client.iot_dps_resource
    report = {}

    def available():
        answer = dps.check_provisioning_service_name_availability(OperationInputs(name=name))
        return answer.name_available

    report["availableBefore"] = available()
    description = ProvisioningServiceDescription(
        location="East US",
        tags={"suite": "nightly"},
        sku=IotDpsSkuInfo(name="S1", capacity=1),
        properties=IotDpsPropertiesDescription(iot_hubs=[hub("hub-a.azure-devices.net")]),
    )
    created = dps.begin_create_or_update(GROUP, name, description).result(timeout=30)
    report["availableAfter"] = available()
    report["created"] = {
        "name": created.name,
        "state": created.properties.state,
        "provisioningState": created.properties.provisioning_state,
        "idScope": created.properties.id_scope,
        "host": created.properties.service_operations_host_name,
        "tags": dict(created.tags),
    }
    keys = list(dps.list_keys(name, GROUP))
    report["keys"] = [key.key_name for key in keys]
    one = dps.list_keys_for_key_name(name, POLICY, GROUP)
    report["sameKey"] = one.primary_key == keys[0].primary_key

    # What was read is written back with another hub, as the Azure CLI links hubs.
    read = dps.get(name, GROUP)
    read.properties.iot_hubs.append(hub("hub-b.azure-devices.net"))
    linked = dps.begin_create_or_update(GROUP, name, read).result(timeout=30)
    report["hubs"] = [it.name for it in linked.properties.iot_hubs]
    tagged = dps.begin_update(GROUP, name, TagsResource(tags={"suite": "daily"}))
    report["tags"] = dict(tagged.result(timeout=30).tags)
    report["skus"] = [it.name for it in dps.list_valid_skus(name, GROUP)]
    report["ofGroup"] = [it.name for it in dps.list_by_resource_group(GROUP)]
    report["ofSubscription"] = [it.name for it in dps.list_by_subscription()]

    # The key reaches the instance's own enrollments.
    host = urlsplit(endpoint).netloc
    connection = f"HostName={host};SharedAccessKeyName={POLICY};SharedAccessKey={one.primary_key}"
    service = DeviceProvisioningClient.from_connection_string(connection)
    group = {"enrollmentGroupId": name, "attestation": {"type": "symmetricKey"}}
    service.enrollment_group.create_or_update(name, group)
    report["groups"] = [it["enrollmentGroupId"] for it in service.enrollment_group.query({"query": "SELECT *"})]

    dps.begin_delete(name, GROUP).result(timeout=30)
    try:
        dps.get(name, GROUP)
    except ResourceNotFoundError as error:
        report["afterDelete"] = error.status_code
    dps.begin_delete(name, GROUP).result(timeout=30)
    try:
        IotDpsClient(Credential("other"), SUBSCRIPTION, base_url=endpoint).iot_dps_resource.get(name, GROUP)
    except HttpResponseError as error:
        report["otherToken"] = error.status_code
    print(json.dumps(report))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
