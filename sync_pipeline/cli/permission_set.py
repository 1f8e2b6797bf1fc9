"""`sync-pipeline check ORG --permission-set FILE`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

from sync_pipeline import salesforce
from sync_pipeline.cli.orgs import the_organization
from sync_pipeline.cli.output import out, print_json
from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.orgs import Organization
from sync_pipeline.salesforce.permission_set import API_NAME, LONGEST_NAME, SUFFIX, default_name

PROJECT_FILE = "sfdx-project.json"
"""Marks the folder of a Salesforce project, in which `sf` works."""


def write(name: str, target: Path, *, as_json: bool) -> int:
    """Write the organization's least permission set, and say how it is deployed and assigned. Returns the exit code.

    Args:
        name: the organization.
        target: a file whose name ends in `.permissionset-meta.xml`, or a folder, made where it is missing.
        as_json: one JSON document instead of sentences.

    Raises:
        ConfigurationError: no such organization, or its file is broken; or the target can't be the file's name or be
            written.
    """
    org = the_organization(name)
    file = _file(org, target)
    described, unasked = _described(org)
    text = salesforce.least_permission_set(org, described).xml()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(
            f"{file} can't be written ({error.strerror}).", next_step="Name another file or folder."
        ) from error
    commands = _commands(file)
    if as_json:
        print_json({"organization": name, "permission_set": str(file), "unasked": unasked, "commands": commands})
    else:
        _tell(file, unasked, commands)
    return 0


def _file(org: Organization, target: Path) -> Path:
    if target.name.endswith(SUFFIX) and not target.is_dir():
        stem = target.name.removesuffix(SUFFIX)
        if not API_NAME.fullmatch(stem) or len(stem) > LONGEST_NAME:
            raise ConfigurationError(
                f"{stem!r} can't be the API name of a permission set, which Salesforce takes from the file's name.",
                next_step=f"Use letters, digits and single underscores, a letter first, e.g. {default_name(org)}{SUFFIX}.",
            )
        return target
    if target.suffix and not target.is_dir():
        raise ConfigurationError(
            f"{target} does not end in {SUFFIX}, by which Salesforce's tools know a permission set.",
            next_step=f"Name a folder, or {target.parent / (default_name(org) + SUFFIX)}.",
        )
    if target.is_file():
        raise ConfigurationError(f"{target} is a file that is there already.", next_step="Name a folder or a new file.")
    return target / f"{default_name(org)}{SUFFIX}"


def _described(org: Organization) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What describe says of the objects, as far as the login works; and why the rest could not be asked for."""
    described: dict[str, dict[str, Any]] = {}
    try:
        client = salesforce.connect(org)
    except SyncError as error:
        return described, [str(error)]
    unasked = []
    with client.session:
        for name in salesforce.objects_read(org):
            try:
                described[name] = client.describe(name)
            except SyncError as error:
                unasked.append(str(error))
    return described, unasked


def _commands(file: Path) -> list[str]:
    """How the file comes into an organization, by Salesforce's own command line, and to a user."""
    name = file.name.removesuffix(SUFFIX)
    project = next((folder for folder in file.absolute().parents if (folder / PROJECT_FILE).exists()), None)
    if project is None:
        # Deploying wants a project around the file; an empty one is made by one command.
        first = [
            "sf project generate --name salesforce",
            f"cp {quote(str(file))} salesforce/force-app/main/default/permissionsets/",
            "cd salesforce",
        ]
    else:
        first = [f"cd {quote(str(project))}"]
    return [
        *first,
        f"sf project deploy start --metadata PermissionSet:{name} --target-org ADMIN",
        f"sf org assign permset --name {name} --on-behalf-of USERNAME --target-org ADMIN",
    ]


def _tell(file: Path, unasked: list[str], commands: list[str]) -> None:
    out.print(f"Wrote {file}.", style="bold green", markup=False)
    if unasked:
        out.print("\nMade from the YAML file where Salesforce could not be asked:", markup=False)
        for reason in unasked:
            out.print(f"  {reason}", markup=False)
        out.print(
            "Should the deployment say 'You cannot deploy to a required field', take the field it names out of the file: "
            "a required field can be read by everyone who can read the object.",
            markup=False,
        )
    out.print("\nDeploy it as an administrator (ADMIN: the alias of `sf org login web --alias ADMIN`) and assign it:\n")
    for command in commands:
        out.print(f"  {command}", markup=False)
    out.print(
        "\nUSERNAME is the user whom the sync works as. A user of the license Salesforce Integration first needs the "
        "permission set license Salesforce API Integration (Setup > Users), which lets it have rights on accounts. Then "
        "run this check again without --permission-set.",
        markup=False,
    )
