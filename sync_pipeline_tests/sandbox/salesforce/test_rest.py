"""REST as clients use it: login, metadata, queries, single records, collections, errors."""

from __future__ import annotations

from typing import Any

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED


def test_versions_need_no_login_and_count_nothing(served: Served) -> None:
    answer = served.http.get(f"{served.url}/services/data/", headers={"Authorization": ""})
    assert [v["version"] for v in answer.json()][:1] == ["58.0"]
    assert answer.json()[-1] == {"label": "Winter '27", "url": "/services/data/v68.0", "version": "68.0"}
    assert "Sforce-Limit-Info" not in answer.headers
    assert "identity" in served.http.get(served.data("")).json()


def test_versions_that_are_retired_or_never_were(served: Served) -> None:
    assert served.http.get(f"{served.url}/services/data/v30.0/limits").status_code == 410
    assert served.http.get(f"{served.url}/services/data/v69.0/limits").status_code == 404
    assert served.http.get(f"{served.url}/services/data/66.0/limits").status_code == 404
    assert served.http.get(f"{served.url}/services/data/v51.0/sobjects/User/{world.USER}").json()["Name"] == "Ada Admin"


def test_unknown_session(served: Served) -> None:
    answer = served.http.get(served.data("limits"), headers={"Authorization": "Bearer 00D!nonsense"})
    assert answer.status_code == 401
    assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_usage_is_counted(served: Served) -> None:
    assert served.http.get(served.data("limits/")).headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    answer = served.http.get(served.data("query?q=nonsense"))
    assert (answer.status_code, answer.headers["Sforce-Limit-Info"]) == (400, "api-usage=2/100000")
    limits = served.http.get(served.data("limits")).json()
    assert limits["DailyApiRequests"] == {"Max": 100_000, "Remaining": 99_997}
    calls = served.state.rows("SELECT method, route, calls FROM request_log WHERE org = ?", world.ORG)
    assert [tuple(row) for row in calls] == [("GET", "/limits", 2), ("GET", "/query", 1)]


def test_describe(served: Served) -> None:
    fields = {f["name"]: f for f in served.http.get(served.data("sobjects/account/describe/")).json()["fields"]}
    assert "Hidden__c" not in fields
    assert fields["Portal_Url__c"]["type"] == "url"
    assert fields["Portal_Url__c"]["length"] == 255
    assert fields["Notes__c"]["filterable"] is False
    assert fields["Score__c"]["updateable"] is False
    assert fields["OwnerId"]["referenceTo"] == ["User"]
    assert served.http.get(served.data("sobjects/Nothing/describe")).json()[0]["errorCode"] == "NOT_FOUND"
    names = [o["name"] for o in served.http.get(served.data("sobjects")).json()["sobjects"]]
    assert names[:4] == ["Account", "Contact", "User", "Organization"]


def test_overrides_hide_and_change_fields_of_one_organization(served: Served) -> None:
    override = {"org": world.ORG, "object": "Account", "field": "billing_id__c"}
    address = f"{served.url}/sandbox/fields"
    served.http.post(address, json=[override | {"hidden": True}])
    answer = served.http.get(served.data("query"), params={"q": "SELECT Billing_Id__c FROM Account"})
    assert "No such column 'Billing_Id__c' on entity 'Account'." in answer.json()[0]["message"]
    assert answer.json()[0]["errorCode"] == "INVALID_FIELD"
    other = {"Authorization": f"Bearer {world.OTHER_TOKEN}"}
    ok = served.http.get(served.data("query"), params={"q": "SELECT Billing_Id__c FROM Account"}, headers=other)
    assert ok.json()["totalSize"] == 1
    served.http.post(address, json=[override | {"hidden": False, "type": "double"}])
    fields = served.http.get(served.data("sobjects/Account/describe")).json()["fields"]
    assert next(f["type"] for f in fields if f["name"] == "Billing_Id__c") == "double"
    served.http.post(address, json=override)
    fields = served.http.get(served.data("sobjects/Account/describe")).json()["fields"]
    assert next(f["type"] for f in fields if f["name"] == "Billing_Id__c") == "string"
    wrong = [override | {"colour": "red"}, override | {"field": "X"}, override | {"org": "none"}, "text"]
    assert [served.http.post(address, json=[item]).status_code for item in wrong] == [400] * 4


def test_records_as_json(served: Served) -> None:
    soql = (
        "SELECT Id, Name, IsDeleted, AnnualRevenue, NumberOfEmployees, CreatedDate, Owner.Name, Parent.Owner.Email, "
        f"BillingAddress FROM Account WHERE Id = '{BETA[:15]}'"
    )
    (record,) = served.http.get(served.data("query"), params={"q": soql}).json()["records"]
    assert record == {
        "attributes": {"type": "Account", "url": f"/services/data/v66.0/sobjects/Account/{BETA}"},
        "Id": BETA,
        "Name": "ÉTÉ & Söhne 🚀",
        "IsDeleted": False,
        "AnnualRevenue": None,
        "NumberOfEmployees": None,
        "CreatedDate": "2024-01-31T10:11:12.000+0000",
        "Owner": {
            "attributes": {"type": "User", "url": f"/services/data/v66.0/sobjects/User/{world.LEAVER}"},
            "Name": "Leo Leaver",
        },
        "Parent": {
            "attributes": {"type": "Account", "url": f"/services/data/v66.0/sobjects/Account/{ACME}"},
            "Owner": {
                "attributes": {"type": "User", "url": f"/services/data/v66.0/sobjects/User/{world.USER}"},
                "Email": "ada@stripe.example",
            },
        },
        "BillingAddress": record["BillingAddress"],
    }
    assert record["BillingAddress"]["country"] is None
    (without_parent,) = served.query(f"SELECT Parent.Name, AnnualRevenue FROM Account WHERE Id = '{ACME}'")
    assert without_parent == {"Parent": None, "AnnualRevenue": 1_000_000.0}


def test_the_organization(served: Served) -> None:
    fields = "Id, Name, InstanceName, IsSandbox, TrialExpirationDate, NamespacePrefix, OrganizationType"
    (found,) = served.query(f"SELECT {fields} FROM Organization")
    assert (found["Id"], found["IsSandbox"], found["NamespacePrefix"]) == (world.ORGANIZATION_ID, False, None)


def test_pages_stay_what_they_were(served: Served) -> None:
    ids = world.many_accounts(served.state, 450)
    options = {"Sforce-Query-Options": "batchSize=200"}
    soql = "SELECT Id FROM Account WHERE Name LIKE 'Many %' ORDER BY Name"
    page = served.http.get(served.data("query/"), params={"q": soql}, headers=options).json()
    assert (page["totalSize"], page["done"], len(page["records"])) == (450, False, 200)
    assert page["nextRecordsUrl"].startswith("/services/data/v66.0/query/0r8")
    served.state.db.execute("DELETE FROM account WHERE Name LIKE 'Many 9%'")
    found = [record["Id"] for record in page["records"]]
    while not page["done"]:
        page = served.http.get(served.url + page["nextRecordsUrl"]).json()
        found += [record["Id"] for record in page["records"]]
    assert sorted(found) == ids
    for locator in ("0r8nonsense", page.get("x", "0r8000000000000000-2000")):
        answer = served.http.get(served.data(f"query/{locator}"))
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_query_all_and_count(served: Served) -> None:
    deleted = served.http.get(
        served.data("queryAll"), params={"q": "SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true"}
    ).json()
    assert [r["MasterRecordId"] for r in deleted["records"]] == [None, ACME]
    count = served.http.get(served.data("query"), params={"q": "SELECT COUNT() FROM Account"}).json()
    assert count == {"totalSize": 3, "done": True, "records": []}


def test_columns_of_a_query(served: Served) -> None:
    soql = "SELECT Id, Owner.Name, Parent.Owner.Email, IsDeleted, Owner.Email FROM Account"
    answer = served.http.get(served.data("query"), params={"q": soql, "columns": "true"}).json()

    def names(columns: list[dict[str, Any]]) -> list[Any]:
        return [{c["columnName"]: names(c["joinColumns"])} if c["joinColumns"] else c["columnName"] for c in columns]

    expected = ["Id", {"Owner": ["Name", "Email"]}, {"Parent": [{"Owner": ["Email"]}]}, "IsDeleted"]
    assert names(answer["columnMetadata"]) == expected
    assert [c["booleanType"] for c in answer["columnMetadata"]] == [False, False, False, True]
    assert (answer["keyPrefix"], answer["idSelected"]) == ("001", True)


def test_the_tooling_api_has_users_only(served: Served) -> None:
    found = served.http.get(served.data("tooling/query/"), params={"q": "SELECT Id FROM User ORDER BY Name"})
    assert [r["Id"] for r in found.json()["records"]] == [world.USER, world.LEAVER]
    refused = served.http.get(served.data("tooling/query"), params={"q": "SELECT Id FROM Account"})
    assert refused.json()[0]["errorCode"] == "INVALID_TYPE"


def test_who_is_connected(served: Served) -> None:
    """Every field that Salesforce documents for userinfo: sf-toolkit fails without one of them."""
    info = served.http.get(f"{served.url}/services/oauth2/userinfo").json()
    assert info.keys() >= {
        *("sub", "user_id", "organization_id", "preferred_username", "name", "email", "email_verified", "given_name"),
        *("family_name", "zoneinfo", "photos", "profile", "picture", "address", "urls", "active", "user_type"),
        *("language", "locale", "utcOffset", "updated_at"),
    }
    assert (info["zoneinfo"], info["utcOffset"], info["locale"]) == ("GMT", 0, "en_US")  # what date literals go by


def test_one_record(served: Served) -> None:
    address = served.data(f"sobjects/Account/{ACME[:15]}")
    assert served.http.get(address).json()["Id"] == ACME
    assert served.http.get(address, params={"fields": "Id, Industry"}).json().keys() == {"attributes", "Id", "Industry"}
    assert served.http.get(address, params={"fields": "Hidden__c"}).json()[0]["errorCode"] == "INVALID_FIELD"
    assert served.http.get(address, params={"fields": "Id FROM User"}).json()[0]["errorCode"] == "INVALID_FIELD"
    assert served.http.patch(address, json={"Segment__c": "Gold"}).status_code == 204
    override = served.http.post(address, params={"_HttpMethod": "PATCH"}, json={"Segment__c": "Silver"})
    assert override.status_code == 204
    assert served.http.get(address).json()["Segment__c"] == "Silver"
    too_long = served.http.patch(address, json={"Short_Link__c": "x" * 21})
    assert too_long.json() == [
        {
            "message": f"Short Link: data value too large: {'x' * 21} (max length=20)",
            "errorCode": "STRING_TOO_LONG",
            "fields": ["Short_Link__c"],
        }
    ]
    assert served.http.get(served.data(f"sobjects/Account/{DELETED}")).json()[0]["errorCode"] == "ENTITY_IS_DELETED"
    assert served.http.get(served.data(f"sobjects/Account/{world.make_id('001', 99)}")).status_code == 404
    assert served.http.get(served.data(f"sobjects/Account/{world.USER}")).status_code == 404
    assert served.http.patch(address, data="{").json()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_external_ids(served: Served) -> None:
    assert served.http.get(served.data("sobjects/Account/Billing_Id__c/0012")).json()["Id"] == ACME
    several = served.http.get(served.data("sobjects/Account/Billing_Id__c/TWIN"))
    assert (several.status_code, len(several.json())) == (300, 2)
    assert served.http.get(served.data("sobjects/Account/Name/x")).status_code == 404


def test_upsert_by_external_id(served: Served) -> None:
    def upsert(key: str, field: str = "Billing_Id__c", **values: object) -> tuple[int, Any]:
        answer = served.http.patch(served.data(f"sobjects/Account/{field}/{key}"), json=values)
        return answer.status_code, answer.json()

    assert upsert("0012", Segment__c="Gold") == (200, {"id": ACME, "success": True, "errors": [], "created": False})
    status, made = upsert("new%2F%2F1", Name="New")
    assert (status, made["created"]) == (201, True)
    (found,) = served.query("SELECT Id, Billing_Id__c FROM Account WHERE Name = 'New'")
    assert found == {"Id": made["id"], "Billing_Id__c": "new//1"}
    assert upsert("twin", Name="Which?")[0] == 300
    assert upsert(BETA, "Id", Segment__c="Silver")[0] == 200
    assert upsert(DELETED, "Id", Segment__c="Silver")[0] == 404
    assert upsert("x", "Name", Segment__c="x")[0] == 404
    assert upsert("0012", Billing_Id__c="0013")[1][0]["errorCode"] == "INVALID_FIELD"
    only_updates = served.http.patch(
        served.data("sobjects/Account/Billing_Id__c/none?updateOnly=true"), json={"Name": "x"}
    )
    assert (only_updates.status_code, served.query("SELECT Id FROM Account WHERE Billing_Id__c = 'none'")) == (404, [])
    assert upsert("nameless")[1][0]["errorCode"] == "REQUIRED_FIELD_MISSING"


def test_making_and_deleting(served: Served) -> None:
    made = served.http.post(
        served.data("sobjects/Contact"), json={"FirstName": "Ann", "LastName": "Lee", "AccountId": ACME}
    )
    assert (made.status_code, made.json()["success"]) == (201, True)
    address = served.data(f"sobjects/Contact/{made.json()['id']}")
    assert served.http.get(address).json()["Name"] == "Ann Lee"
    served.http.patch(address, json={"FirstName": None})
    assert served.http.get(address).json()["Name"] == "Lee"
    assert served.http.delete(address).status_code == 204
    assert served.http.delete(address).json()[0]["errorCode"] == "ENTITY_IS_DELETED"
    missing = served.http.post(served.data("sobjects/Contact"), json={"FirstName": "Ann"})
    assert missing.json()[0]["errorCode"] == "REQUIRED_FIELD_MISSING"


def test_addresses_that_are_wrong(served: Served) -> None:
    assert served.http.get(f"{served.url}/services/data//v66.0/limits").status_code == 404
    assert served.http.get(served.data("nothing/here/at/all/x")).json()[0]["errorCode"] == "NOT_FOUND"
    wrong_method = served.http.put(served.data("limits"))
    assert (wrong_method.status_code, wrong_method.json()[0]["errorCode"]) == (405, "METHOD_NOT_ALLOWED")
    assert served.http.get(served.data("query"), params={"q": "x" * 17_000}).status_code == 414


def test_pages_for_people(served: Served) -> None:
    page = served.http.get(f"{served.url}/{ACME[:15]}", headers={"Authorization": ""})
    assert page.url == f"{served.url}/lightning/r/Account/{ACME}/view"
    assert "Acme &quot;Rockets&quot;" in page.text
    assert "secret" not in page.text
    assert f'<a href="/lightning/r/User/{world.USER}/view">' in page.text
    assert served.http.get(f"{served.url}/lightning/r/Organization/{world.ORGANIZATION_ID}/view").status_code == 200
    for missing in ("nonsense", world.make_id("001", 99), f"lightning/r/Nothing/{ACME}/view"):
        assert served.http.get(f"{served.url}/{missing}").status_code == 404
