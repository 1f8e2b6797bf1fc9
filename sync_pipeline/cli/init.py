"""`sync-pipeline init`: asks its way to an organization's YAML file. Nothing is written before the last answer."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from sync_pipeline.billing.fields import Survey, survey
from sync_pipeline.cli.asking import Answers, agreed, choose, complain, pairs
from sync_pipeline.cli.fields import fields_table, percent
from sync_pipeline.cli.output import err, out, shown_progress
from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.orgs import Organization, load_organizations, read_organization
from sync_pipeline.orgs.models import Exports, Identifier, Imports, PortalLinkExport, SalesforceSettings, Schedule
from sync_pipeline.orgs.variables import references
from sync_pipeline.orgs.writing import written
from sync_pipeline.settings import config_dir

PROPOSED = 12
"""As many fields are proposed as identifier; any other can be typed."""
_PLACEHOLDERS = {
    "identifier": {"billing_field": "?", "salesforce_field": "Id"},
    "receivables": {"platform": "warehouse", "portal_link_template": "https://example.com/{customer_id}"},
}
"""What stands for answers that are still to come while the billing system is asked."""


def init(*, dry_run: bool) -> int:
    """Ask, then write the file, or print it for a dry run. Returns 0."""
    answers = Answers(lambda: _file(answers.data.get("name", "new")))
    err.print("An empty line takes what stands in [brackets]. Ctrl-C ends this, and nothing is written.", markup=False)
    _name(answers)
    _salesforce(answers)
    prefix = answers.data["name"].upper()
    info = Organization.model_fields["billing"]
    model = answers.choice(("billing",), info)
    system = answers.data["billing"]["system"]
    answers.section(("billing",), model, f"{prefix}_{system}", skip=("system",))
    if "columns" in model.model_fields:  # a table's id has any name
        about = model.model_fields["columns"].description or ""
        answers.ask(("billing", "columns"), about, "Pairs like customer_id=number (empty for none)", pairs, "")
    _identifier(answers)
    _imports(answers)
    info = Organization.model_fields["receivables"]
    model = answers.choice(("receivables",), info)
    answers.section(("receivables",), model, f"{prefix}_{answers.data['receivables']['platform']}", skip=("platform",))
    _export_and_schedule(answers)
    return _finish(answers, dry_run=dry_run)


def _file(name: str) -> Path:
    return config_dir() / f"{name}.yaml"


def _name(answers: Answers) -> None:
    loaded = load_organizations(config_dir()) if config_dir().is_dir() else None
    taken = {*loaded.organizations, *loaded.broken} if loaded else set()

    def free(name: str) -> str:
        if name in taken or (name.isidentifier() and _file(name).exists()):
            raise ValueError(f"There is an organization {name} already, and its file is not overwritten.")
        return name

    answers.ask(("name",), Organization.model_fields["name"].description or "", "Name", free)
    answers.ask(("label",), Organization.model_fields["label"].description or "", "Label (empty for none)", str, "")


def _salesforce(answers: Answers) -> None:
    prefix, fields = answers.data["name"].upper(), SalesforceSettings.model_fields
    # The method first: which domains are possible depends on it.
    login = answers.choice(("salesforce", "login"), fields["login"])
    answers.key(("salesforce", "domain"), fields["domain"], f"{prefix}_SALESFORCE")
    answers.section(("salesforce", "login"), login, prefix, skip=("method",))


def _identifier(answers: Answers) -> None:
    about = {name: info.description or "" for name, info in Identifier.model_fields.items()}
    found = _survey(answers)
    if found is None or not found.fields:
        answers.ask(("identifier", "billing_field"), about["billing_field"], "Field", str)
    else:
        _choose_field(answers, found, about["billing_field"])
    answers.ask(("identifier", "salesforce_field"), about["salesforce_field"], "Account field", str, "Id")


def _survey(answers: Answers) -> Survey | None:
    """The fields of the billing system; None where it can't be asked yet, which is said."""
    text = written({**answers.data, **_PLACEHOLDERS})
    org, _ = read_organization(text, _file(answers.data["name"]))
    if org is None:
        return None
    unset = [reference.env for reference in references(org.billing) if not reference.is_set()]
    if unset:
        names = ", ".join(dict.fromkeys(unset))
        err.print(f"\n{names} is not set here, so the billing system's fields can't be listed now.", markup=False)
        return None
    err.print()
    if not agreed("Read the customers now, to see which fields could be the identifier?", default=True):
        return None
    try:
        with shown_progress(org.name):
            return survey(org)
    except SyncError as error:
        complain(str(error))
        err.print("It goes on without the list; `sync-pipeline billing fields` shows it later.", markup=False)
        return None


def _choose_field(answers: Answers, found: Survey, about: str) -> None:
    err.print(f"\n{found.customers:,} customers.", markup=False)
    err.print(fields_table(found, wide=False), soft_wrap=False)
    err.print(f"identifier.billing_field: {about}", markup=False)
    possible = [field for field in found.fields if field.fit != "no"][:PROPOSED]
    said = {
        field.name: f"filled by {percent(field.percent)} %{f', {field.why_not}' if field.why_not else ''}"
        for field in possible
    }
    names = {field.name for field in found.fields}
    while True:
        name = choose("Field, by number or name", said, others=True)
        if name not in names and not agreed(f"No customer has the field {name}. Take it all the same?", default=False):
            continue
        if not (wrong := answers.put(("identifier", "billing_field"), name)):
            return
        for sentence in wrong:
            complain(sentence)


def _imports(answers: Answers) -> None:
    err.print(f"\nimport: {Organization.model_fields['imports'].description}", markup=False)
    fields = Imports.model_fields
    for key in ("owners", "contacts"):
        err.print(f"{fields[key].description}", markup=False)
        answers.put(("import", key), agreed(f"import.{key}", default=True))
    keys = ["account_fields", *(["contact_fields"] if answers.data["import"]["contacts"] else [])]
    for key in keys:
        example = "Industry=Industry, Segment__c=Segment" if key == "account_fields" else "Language__c=Language"
        question = f"Pairs like {example} (empty for none)"
        answers.ask(("import", key), fields[key].description or "", question, pairs, "")


def _export_and_schedule(answers: Answers) -> None:
    link = PortalLinkExport.model_fields["salesforce_field"].description or ""
    about = f"{Exports.model_fields['portal_link'].description} {link}"
    answers.ask(("export", "portal_link", "salesforce_field"), about, "Account field (empty for none)", str, "")
    if not answers.data.get("export", {}).get("portal_link"):
        answers.data.pop("export", None)
    for key, info in Schedule.model_fields.items():
        answers.ask(("schedule", key), info.description or "", key, str, str(info.default))


def _finish(answers: Answers, *, dry_run: bool) -> int:
    file = _file(answers.data["name"])
    beside = file.parent.parent / "org.schema.json"
    text = written(answers.data, schema=f"../{beside.name}" if beside.is_file() else None)
    org, findings = read_organization(text, file)
    if org is None or findings:
        raise ConfigurationError("\n".join(sentence for _, sentence in findings), next_step="Nothing was written.")
    err.print()
    if dry_run:
        sys.stdout.write(text)
        return 0
    _write(file, text)
    unset = dict.fromkeys(reference.env for reference in references(org) if not reference.is_set())
    out.print(f"{org.where().rpartition(':')[0]} is written. Next:", markup=False)
    if unset:
        out.print("  set these environment variables where the sync runs:", markup=False)
        out.print("\n".join(f"    {name}" for name in unset), markup=False)
    if org.salesforce.login.method == "browser":
        out.print(f"  sync-pipeline connect {org.name}", markup=False)
    out.print(f"  sync-pipeline check {org.name}", markup=False)
    return 0


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            try:
                stream.write(text)
                stream.flush()
            except BaseException:  # half a file is worse than none
                with suppress(OSError):
                    file.unlink()
                raise
    except FileExistsError:
        raise ConfigurationError(f"There is a file {file} already.", next_step="Nothing was written.") from None
    except OSError as error:
        raise ConfigurationError(
            f"{file} can't be written: {error.strerror}.", next_step="Name another folder with --config."
        ) from None
