"""`sync-pipeline init`: asks its way to an organization's YAML file. Nothing is written before the last answer."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

from sync_pipeline.billing import authorization
from sync_pipeline.billing.fields import GOOD_PERCENT, Field, Survey, survey
from sync_pipeline.cli.answers import Answers
from sync_pipeline.cli.asking import agreed, choose, complain, say
from sync_pipeline.cli.fields import percent
from sync_pipeline.cli.output import err, out, shown_progress
from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.logins.grants import GrantStore
from sync_pipeline.orgs import Organization, load_organizations, read_organization
from sync_pipeline.orgs.models import Schedule
from sync_pipeline.orgs.problems import shown_path
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
_FIT = {"good": "could be it", "nearly": "nearly", "no": "no"}


def init(name: str, *, dry_run: bool) -> int:
    """Ask, then write the file, or print it for a dry run. Returns 0.

    Raises:
        ConfigurationError: the name is none, or taken; there is nobody to answer; the file can't be written.
    """
    file = config_dir() / f"{name}.yaml"
    answers = Answers()
    if wrong := answers.put(("name",), name):
        raise ConfigurationError(wrong[0])
    if not dry_run:
        _refuse_taken(name, file)
    say(
        f"A few questions, then {shown_path(file)} is {'printed' if dry_run else 'written'}. An empty line takes what "
        "stands in [brackets]; Ctrl-C ends this, and nothing is written."
    )
    try:
        listed = _ask(answers, file)
        return _finish(answers, file, dry_run=dry_run, listed=listed)
    except KeyboardInterrupt:
        err.print("\nStopped; nothing was written.")
        raise


def _refuse_taken(name: str, file: Path) -> None:
    loaded = load_organizations(file.parent) if file.parent.is_dir() else None
    taken = {*loaded.organizations, *loaded.broken} if loaded else set()
    if name in taken or file.exists():
        raise ConfigurationError(
            f"There is an organization {name} already, and its file is not overwritten.",
            next_step=f"Change {shown_path(file)} by hand, or move it away; --dry-run asks and prints what would be written.",
        )


def _ask(answers: Answers, file: Path) -> bool:
    """Every question; returns whether the billing system's fields were listed."""
    answers.choice(("salesforce", "login"))  # first: which domains are possible depends on it
    answers.key(("salesforce",))
    found = _billing(answers, file)
    if found:
        _choose_field(answers, found)
    else:
        answers.key(("identifier", "billing_field"))
    answers.key(("identifier", "salesforce_field"), default="Id")
    for key in ("owners", "contacts"):
        answers.key(("import", key), default="yes")
    answers.key(("import", "account_fields"))
    if answers.data["import"]["contacts"]:
        answers.key(("import", "contact_fields"))
    answers.key(("receivables",))
    if agreed("\nexport: take the portal links to a field of the accounts?", "yes"):
        answers.key(("export", "portal_link", "salesforce_field"))
    for key, info in Schedule.model_fields.items():
        answers.key(("schedule", key), default=str(info.default))
    answers.settle()
    return found is not None


def _billing(answers: Answers, file: Path) -> Survey | None:
    """Ask about the billing system, and list its fields where it can be asked yet."""
    while True:
        answers.key(("billing",))
        org, findings = read_organization(written({**answers.data, **_PLACEHOLDERS}), file)
        if org is None:
            raise ConfigurationError("\n".join(sentence for _, sentence in findings))
        try:
            return _survey(org)
        except SyncError as error:
            complain(re.sub(rf"{re.escape(shown_path(file))}:\d+(: )?", "", str(error)))  # there is no such line yet
        if not agreed("Answer the questions about the billing system again?", "no"):
            return None
        del answers.data["billing"]


def _survey(org: Organization) -> Survey | None:
    """The fields of the billing system; None where they can't be known, which is said, or where nobody wants to."""
    unset = dict.fromkeys(reference.env for reference in references(org.billing) if not reference.is_set())
    why = ""
    if unset:
        why = f"not set here: {', '.join(unset)}"
    elif _to_connect(org):
        why = "a person has to connect it first"
    if why:
        say(
            f"\nThe billing system's fields can't be listed yet: {why}. Type the field's name; it can be changed later."
        )
        return None
    if not agreed("\nRead the customers now, to see which fields could be the identifier?", "yes"):
        return None
    with shown_progress(org.name):
        found = survey(org)
    if not found.fields:
        say("The billing system has no customers yet, so it shows no fields.")
    return found if found.fields else None


def _choose_field(answers: Answers, found: Survey) -> None:
    at = ("identifier", "billing_field")
    answers.head(at)
    say(f"{found.customers:,} customers. Could be it: {GOOD_PERCENT} % or more have a value, and no two the same.")
    names = {field.name for field in found.fields}
    possible = [field for field in found.fields if field.fit != "no"] or found.fields
    said = {field.name: _described(field) for field in possible[:PROPOSED]}
    while True:
        name = choose("Field, by number, or the name of any other", said, others=True)
        if name not in names and not agreed(f"No customer has the field {name}. Take it all the same?", "no"):
            continue
        wrong = answers.put(at, name)
        for sentence in wrong:
            complain(sentence)
        if not wrong:
            return


def _described(field: Field) -> str:
    return f"{_FIT[field.fit]}: filled by {percent(field.percent)} %{f', {field.why_not}' if field.why_not else ''}"


def _finish(answers: Answers, file: Path, *, dry_run: bool, listed: bool) -> int:
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
    _tell_next(org, listed=listed)
    return 0


def _tell_next(org: Organization, *, listed: bool) -> None:
    out.print(f"{shown_path(org.file)} is written. Next:", markup=False)
    if unset := dict.fromkeys(reference.env for reference in references(org) if not reference.is_set()):
        out.print("  set these environment variables, here and where the sync runs:", markup=False)
        out.print("\n".join(f"    {name}" for name in unset), markup=False)
    name = org.name
    commands = {
        f"connect {name}": "a person logs in to Salesforce" if org.salesforce.login.method == "browser" else "",
        f"connect {name} --billing": "a person logs in to the billing system" if _to_connect(org) else "",
        f"billing fields {name}": "" if listed else "which fields could be the identifier",
        f"check {name}": "logs in everywhere, and says all that is wrong at once",
        f"sync {name} --dry-run": "what would change; without --dry-run it is written",
    }
    commands = {command: about for command, about in commands.items() if about}
    width = max(map(len, commands))
    for command, about in commands.items():
        out.print(f"  sync-pipeline {command:<{width}}  {about}", markup=False)


def _to_connect(org: Organization) -> bool:
    """Whether a person has yet to let the sync into the billing system."""
    try:
        return authorization(org) is not None and GrantStore().grant(org.name) is None
    except ConfigurationError:  # it looks for the app's id, which is still to be set
        return True


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
