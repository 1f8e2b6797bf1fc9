"""Runs in sf-toolkit's own environment: uses it as its documentation does, and prints what came of it as JSON."""

import json
import sys

import httpx
from sf_toolkit import SalesforceClient, SObject
from sf_toolkit import io as records
from sf_toolkit.auth.types import SalesforceToken
from sf_toolkit.data.fields import IdField, TextField
from sf_toolkit.data.query_builder import select
from sf_toolkit.data.sobject import SObjectList


class Account(SObject, api_name="Account"):
    """As far as the calls below need it."""

    Id = IdField()
    Name = TextField()
    Segment__c = TextField()
    Billing_Id__c = TextField()


def calls(client: SalesforceClient) -> dict[str, object]:
    """What came of each call."""
    seen: dict[str, object] = {
        "user": client._userinfo.preferred_username,
        "version": client.api_version.version,
        "many": [a.Id for a in select(Account).where(Name__like="Many %").execute().as_list()],
        "in bulk": [a.Id for a in select(Account).where(Name__like="Many %").execute_bulk().as_list()],
        "count": select(Account, include_deleted=True).where(IsDeleted=True).count(),
        "fields": [field["name"] for field in records.sobject_describe(Account)["fields"]],
    }
    one = Account(Name="One", Billing_Id__c="toolkit")
    records.save_insert(one)
    one.Segment__c = "Gold"
    records.save_update(one, only_changes=True)
    seen["fetched"] = records.fetch(Account, one.Id).Segment__c
    records.save_upsert(Account(Billing_Id__c="toolkit", Name="One again"), "Billing_Id__c")
    several = SObjectList([Account(Name=f"Several {number}") for number in range(3)])
    saved = [
        *records.save_insert_list(several),
        *records.save_update_list(SObjectList([Account(Id=one.Id, Segment__c="Silver")])),
        *records.save_upsert_list(SObjectList([Account(Billing_Id__c="toolkit", Name="Two")]), "Billing_Id__c"),
    ]
    seen["saved"] = [result.success for result in saved]
    seen["fetched many"] = [a.Name for a in records.fetch_list(Account, one.Id, several[0].Id)]
    job = records.save_upsert_bulk(SObjectList([Account(Billing_Id__c="bulk", Name="In bulk")]), "Billing_Id__c")
    job = job.monitor_until_complete(poll_interval=0.05)
    seen["bulk upsert"] = (job.numberRecordsProcessed, job.numberRecordsFailed)
    seen["deleted"] = [result.success for result in records.delete_list(several)]
    records.delete(one)
    seen["limit"] = client.api_usage.api_usage.total
    return seen


with SalesforceClient(token=SalesforceToken(httpx.URL(sys.argv[1]), sys.argv[2])) as connected:
    print(json.dumps(calls(connected)))
