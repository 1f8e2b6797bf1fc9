import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.http import is_loopback
from sync_pipeline.orgs import salesforce_base_url


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ("acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("https://acme.my.salesforce.com/", "https://acme.my.salesforce.com"),
        ("HTTPS://Acme.My.Salesforce.COM", "https://acme.my.salesforce.com"),
        ("acme.my.salesforce.com:443", "https://acme.my.salesforce.com"),
        ("acme--uat.sandbox.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com"),
        ("acme-dev-ed.develop.my.salesforce.com", "https://acme-dev-ed.develop.my.salesforce.com"),
        ("acme.scratch.my.salesforce.com", "https://acme.scratch.my.salesforce.com"),
        ("acme.trailblaze.my.salesforce.com", "https://acme.trailblaze.my.salesforce.com"),
        ("navy.my.salesforce.mil", "https://navy.my.salesforce.mil"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://localhost:8443/", "https://localhost:8443"),
        ("localhost:8443", "https://localhost:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_accepts_my_domains_and_this_machine(domain: str, url: str) -> None:
    assert salesforce_base_url(domain) == url


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        ("login.salesforce.com", "My Domain"),
        ("https://test.salesforce.com", "request not supported on this domain"),
        ("acme.lightning.force.com", "acme.my.salesforce.com"),
        ("acme--uat.sandbox.lightning.force.com", "acme--uat.sandbox.my.salesforce.com"),
        ("acme.my.salesforce-setup.com", "acme.my.salesforce.com"),
        ("acme", "acme.my.salesforce.com"),
        ("acme.salesforce.com", "acme.my.salesforce.com"),
        ("na139.salesforce.com", "instance"),
        ("uat.sandbox.my.salesforce.com", "uat--NAME.sandbox.my.salesforce.com"),
        ("http://acme.my.salesforce.com", "unencrypted"),
        ("acme.my.salesforce.com:8443", "443"),
        ("salesforce.evil.com", "not Salesforce's"),
        ("my.salesforce.com.evil.com", "not Salesforce's"),
        ("acme.my.salesforce.com.evil.com", "not Salesforce's"),
        ("evilmy.salesforce.com", "Allowed"),
        ("x.evil.my.salesforce.com", "not Salesforce's"),
        ("acme.my.s\u0430lesforce.com", "\\u0430"),
        ("127.0.0.1.evil.com", "not Salesforce's"),
        ("10.0.0.1", "not Salesforce's"),
        ("http://0.0.0.0:80", "not Salesforce's"),
        ("http://169.254.169.254", "not Salesforce's"),
        ("http://127.0.0.1:99999", "port"),
        ("https://evil.com#.my.salesforce.com", "no address"),
        ("https://evil.com\\.my.salesforce.com", "no address"),
        ("https://evil.com/.my.salesforce.com", "no address"),
        ("evil.com?.my.salesforce.com", "no address"),
        ("acme.my.salesforce.com\n", "no address"),
        ("acme.my.salesforce.com/services/data", "no address"),
        ("ftp://acme.my.salesforce.com", "no address"),
        ("file:///etc/passwd", "no address"),
        ("", "no address"),
        ("-acme.my.salesforce.com", "not Salesforce's"),
    ],
)
def test_refuses_every_other_host_and_says_what_to_write(domain: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        salesforce_base_url(domain)


@pytest.mark.parametrize("host", ["login.salesforce.com", "test.salesforce.com"])
def test_a_person_may_log_in_where_a_server_may_not(host: str) -> None:
    assert salesforce_base_url(f"https://{host}/", login_hosts=True) == f"https://{host}"
    with pytest.raises(ValueError, match="unencrypted"):
        salesforce_base_url(f"http://{host}", login_hosts=True)


@pytest.mark.parametrize("host", ["login.salesforce.com.evil.com", "evil-login.salesforce.com", "na139.salesforce.com"])
def test_no_other_host_is_a_login_host(host: str) -> None:
    with pytest.raises(ValueError, match="Allowed"):
        salesforce_base_url(host, login_hosts=True)


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="no address") as refused:
        salesforce_base_url("https://sync:hunter2@acme.my.salesforce.com")
    assert "hunter2" not in str(refused.value)


HOSTILE = st.text("acme.mysalesforce-:/@#?\\[]0127 \n%x", max_size=60)


@given(
    st.one_of(
        st.text(max_size=60), HOSTILE, st.builds("{}{}{}".format, HOSTILE, st.just(".my.salesforce.com"), HOSTILE)
    )
)
def test_whatever_is_accepted_is_salesforces_or_this_machine(domain: str) -> None:
    try:
        url = salesforce_base_url(domain)
    except ValueError:
        return
    host = url.partition("://")[2]
    if url.startswith("https://") and host.endswith((".my.salesforce.com", ".my.salesforce.mil")):
        assert not set(host) - set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    else:
        assert is_loopback(host if host.endswith("]") else host.rpartition(":")[0] or host)
