"""Which hosts are Salesforce's. Credentials go to no other."""

from __future__ import annotations

import re

from sync_pipeline.http import is_loopback

_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-f:.]+\]|[^\s/:@?#\\\[\]]+)(?::(?P<port>\d{1,5}))?/?", re.I
)
_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
# A My Domain is Name.my.salesforce.com; organizations that are not production carry their partition in between.
# Source: Salesforce Help, "My Domain Login and Application URL Formats with Enhanced Domains".
_PARTITIONS = "sandbox|develop|scratch|trailblaze|demo|free|patch"
_MY_DOMAIN = re.compile(rf"{_NAME}(?:\.(?:{_PARTITIONS}))?\.my\.salesforce\.(?:com|mil)")
# The same organization's other addresses, which people copy from their browser's address bar.
_BROWSER = re.compile(
    rf"(?P<org>{_NAME}(?:\.(?:{_PARTITIONS}))?)\."
    r"(?:lightning\.force\.com|my\.salesforce-setup\.com|my\.site\.com|file\.force\.com)"
)
_INSTANCE = re.compile(r"[a-z]{2,4}\d{1,4}(?:\.my)?\.salesforce\.com")

LOGIN_HOSTS = {"login.salesforce.com": "production", "test.salesforce.com": "sandboxes"}
"""Where a person logs in who does not know the organization's own address, and for which organizations."""

ALLOWED = (
    "Allowed: the organization's My Domain (acme.my.salesforce.com; of a sandbox acme--uat.sandbox.my.salesforce.com), "
    "as Setup > My Domain shows it"
)


def salesforce_base_url(domain: str, *, login_hosts: bool = False) -> str:
    """The address to log in at and to call: `https://acme.my.salesforce.com`, without a slash at its end.

    Takes a My Domain with or without https://, or an address of this machine (loopback) with any scheme and port.

    Args:
        domain: as the YAML file or Salesforce writes it.
        login_hosts: take login.salesforce.com and test.salesforce.com too, where a person logs in by browser.

    Raises:
        ValueError: the host is not Salesforce's, or refuses logins of servers; the text says what to write instead.
    """
    match = _ADDRESS.fullmatch(domain)
    if match is None or len(match["host"]) > 253:  # the longest name DNS knows
        raise ValueError(f"{_shown(domain)} is no address of a Salesforce organization. {ALLOWED}.")
    host = match["host"].lower()
    scheme = (match["scheme"] or "https").lower()
    port = f":{match['port']}" if match["port"] else ""
    if is_loopback(host):
        if port and not 0 < int(port[1:]) < 65536:
            raise ValueError(f"{_shown(domain)} has a port that does not exist; ports go from 1 to 65535.")
        return f"{scheme}://{host}{port}"
    if not (login_hosts and host in LOGIN_HOSTS):
        _refuse_others(host, domain)
    if scheme != "https":
        raise ValueError(f"{_shown(domain)} would send credentials unencrypted. Write https://{host}.")
    if port not in ("", ":443"):
        raise ValueError(f"Salesforce answers on no port but 443. Write {host}.")
    return f"https://{host}"


def _refuse_others(host: str, domain: str) -> None:
    if host in LOGIN_HOSTS:
        raise ValueError(
            f'{host} refuses logins of servers (client credentials and JWT: "request not supported on this domain"). '
            f"Use the organization's My Domain. {ALLOWED}; where a person logs in (salesforce.login.method: browser), "
            "this host too."
        )
    if browser := _BROWSER.fullmatch(host):
        raise ValueError(
            f"{host} is an address for browsers. Write the My Domain instead: {browser['org']}.my.salesforce.com."
        )
    if _INSTANCE.fullmatch(host):
        raise ValueError(f"{host} is an instance, which an organization can leave. Use its My Domain. {ALLOWED}.")
    if re.fullmatch(rf"{_NAME}(?:\.salesforce\.com)?", host):
        raise ValueError(f"{host} is no My Domain. Is it {host.partition('.')[0]}.my.salesforce.com? {ALLOWED}.")
    if not _MY_DOMAIN.fullmatch(host):
        raise ValueError(f"{_shown(domain)} is not Salesforce's; credentials are sent to no other host. {ALLOWED}.")
    label, _, rest = host.partition(".")
    if rest.startswith("sandbox.") and "--" not in label:
        raise ValueError(f"{host} lacks the sandbox's name. Write {label}--NAME.{rest}, as Setup > My Domain shows it.")


def _shown(domain: str) -> str:
    # Letters of other alphabets look like Latin ones; ascii() tells them apart. Before an @ may be a password.
    tail = domain.rpartition("@")[2]
    return ascii(tail if len(tail) <= 80 else tail[:77] + "...")
