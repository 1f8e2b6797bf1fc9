"""Files in an object store and behind an address: brought whole, or refused with a reason and without their secret."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from sync_pipeline import http
from sync_pipeline.billing import probe
from sync_pipeline.billing.systems import file
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Server, serving
from sync_pipeline_tests.orgs.factory import make_organization

Make = Callable[..., Organization]
Read = Callable[[Organization], list[tuple[Any, ...]]]
PATH, CONTENT = "/exports/c.csv", b"id,name\n1,Ada\n"


class Bucket(MemoryFileSystem):  # type: ignore[misc]
    """What s3fs is to the product, without a network."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failing: ClassVar[Exception | None] = None
    written_meanwhile: ClassVar[bytes | None] = None

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        if self.failing is not None:
            raise self.failing
        return super().info(path, **kwargs)  # type: ignore[no-any-return]

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        super().get_file(rpath, lpath, **kwargs)
        if self.written_meanwhile is not None:
            self.pipe_file(rpath, self.written_meanwhile)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setitem(_registry, "s3", Bucket)
    monkeypatch.setattr(Bucket, "store", {})
    return Bucket()


@pytest.fixture
def org(tmp_path: Path) -> Make:
    def make(path: str | dict[str, str], **billing: Any) -> Organization:
        settings = {"system": "file", "path": path} | billing
        return make_organization(folder=tmp_path / "config", billing=settings, identifier__billing_field="id")

    return make


def parquet(folder: Path) -> bytes:
    duckdb.sql(f"COPY (SELECT 1 AS id) TO '{folder / 'made.parquet'}' (FORMAT parquet)")
    return (folder / "made.parquet").read_bytes()


def test_each_format(bucket: Bucket, org: Make, read: Read, tmp_path: Path) -> None:
    contents = {"c.csv": b"id\n1\n", "c.jsonl": b'{"id": 1}\n', "c.parquet": parquet(tmp_path)}
    for name, content in contents.items():
        bucket.pipe_file(f"s3://exports/{name}", content)
        assert [row[0] for row in read(org(f"s3://exports/{name}"))] == ["1"]
        assert f"customers.{name[2:]} is there; it has 1 columns" in probe(org(f"s3://exports/{name}"))


def test_a_large_file_is_not_fetched_for_a_probe(bucket: Bucket, org: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.pipe_file("s3://exports/c.csv", b"id\n" + b"1\n" * 10)
    monkeypatch.setattr(file, "PROBED_BYTES", 10)
    assert "known when it is read" in probe(org("s3://exports/c.csv"))


@pytest.mark.parametrize("content", [b"id\n1\n2\n", b"id\n9\n"])
def test_an_object_that_changes_while_it_is_copied(
    bucket: Bucket, org: Make, read: Read, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    bucket.pipe_file("s3://exports/c.csv", b"id\n1\n")
    monkeypatch.setattr(Bucket, "written_meanwhile", content)
    with pytest.raises(TransientError, match=r"s3://exports/c\.csv changed while it was read"):
        read(org("s3://exports/c.csv"))


def named(name: str, base: type[Exception] = Exception) -> Exception:
    return type(name, (base,), {})("at https://store.example.com/c.csv?X-Amz-Signature=geheim the end")


@pytest.mark.parametrize(
    ("failing", "error", "said"),
    [
        (FileNotFoundError("s3://exports/c.csv"), ConfigurationError, "there is no such file"),
        (PermissionError("Forbidden"), ReconnectError, "refuses the login"),
        (named("NoCredentialsError"), ReconnectError, "Check the credentials in the environment"),
        (named("ClientAuthenticationError"), ReconnectError, "refuses the login"),
        (named("EndpointConnectionError"), TransientError, "can't answer now"),
        (named("FileExpired", OSError), TransientError, "can't answer now"),
        (ValueError("Must provide account_name"), ConfigurationError, "can't be addressed .*account_name"),
        (ModuleNotFoundError("No module named 'aiobotocore'", name="aiobotocore"), ConfigurationError, "aiobotocore"),
    ],
)
def test_what_a_store_answers(
    bucket: Bucket,
    org: Make,
    read: Read,
    monkeypatch: pytest.MonkeyPatch,
    failing: Exception,
    error: type[SyncError],
    said: str,
) -> None:
    monkeypatch.setattr(Bucket, "failing", failing)
    with pytest.raises(error, match=f"(?s)acme.yaml:[0-9]+: s3://exports/c.csv.*{said}") as caught:
        read(org("s3://exports/c.csv"))
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_a_folder_is_no_file(bucket: Bucket, org: Make, read: Read) -> None:
    bucket.pipe_file("s3://exports/day.csv/part-0.csv", b"id\n1\n")
    with pytest.raises(ConfigurationError, match="is a folder"):
        read(org("s3://exports/day.csv"))


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs"), ("abfs", "adlfs"), ("abfss", "adlfs")]
)
def test_a_missing_package(org: Make, read: Read, scheme: str, package: str) -> None:
    try:
        __import__(package)
    except ModuleNotFoundError:
        pass
    else:
        pytest.skip("the package is installed here")
    with pytest.raises(ConfigurationError, match=f"reads {scheme}:// is not installed.*pip install {package}`"):
        read(org(f"{scheme}://exports/c.csv"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Has one file, as a store has behind a presigned address."""
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.0)
    with serving() as found:
        found.at[PATH] = [(200, {}, CONTENT)]
        monkeypatch.setenv("EXPORT", f"{found.url}{PATH}?X-Amz-Signature=geheim")
        yield found
    assert all(asked.method == "GET" for asked in found.asked)


def test_a_presigned_address(server: Server, org: Make, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert read(org({"env": "EXPORT"}))[0][:3] == ("1", "1", "Ada")
    assert "/exports/c.csv?***" in caplog.text
    assert "geheim" not in caplog.text
    assert [(asked.path, asked.pairs) for asked in server.asked] == [(PATH, (("X-Amz-Signature", "geheim"),))]
    assert "2 columns" in probe(org({"env": "EXPORT"}))


def test_a_large_file_behind_an_address_is_not_fetched_for_a_probe(
    server: Server, org: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "PROBED_BYTES", 10)
    assert "known when it is read" in probe(org({"env": "EXPORT"}))


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (403, ReconnectError, "refuses to give it.*lives for a time only"),
        (401, ReconnectError, "HTTP 401"),
        (404, ConfigurationError, "there is no such file"),
        (410, ConfigurationError, "there is no such file"),
        (400, ConfigurationError, "does not give it"),
        (206, ConfigurationError, "does not give it"),
        (302, ConfigurationError, "redirects to elsewhere.example.com"),
        (503, TransientError, "can't answer now"),
    ],
)
def test_what_a_server_answers(
    server: Server, org: Make, read: Read, status: int, error: type[SyncError], said: str
) -> None:
    elsewhere = {"Location": "https://elsewhere.example.com/c.csv"} if status == 302 else {}
    server.at[PATH] = [(status, elsewhere, CONTENT)]
    with pytest.raises(error, match=f"(?s){said}") as caught:
        read(org({"env": "EXPORT"}))
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_an_answer_that_breaks_off(server: Server, org: Make, read: Read) -> None:
    server.at[PATH] = [(200, {"Content-Length": "1000"}, CONTENT)]
    with pytest.raises(TransientError, match=r"named by EXPORT: .*stopped answering") as caught:
        read(org({"env": "EXPORT"}))
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_is_not_there(org: Make, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setenv("EXPORT", "http://127.0.0.1:1/c.csv?sig=geheim")
    with pytest.raises(TransientError, match="can't be reached") as caught:
        read(org({"env": "EXPORT"}))
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


def test_a_page_instead_of_the_file(server: Server, org: Make, read: Read) -> None:
    server.at[PATH] = [(200, {}, b"<!doctype html>\n<title>Sign in</title>\n")]
    with pytest.raises(DataError, match="line 1 is no JSON"):
        read(org({"env": "EXPORT"}, format="jsonl"))


@pytest.mark.parametrize(
    "address", ["ftp://host/c.csv", "http://host/c.csv?sig=geheim", "s3://geheim", "https://geheim:x@[/c.csv"]
)
def test_an_address_in_the_environment_that_is_none(
    org: Make, read: Read, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("EXPORT", address)
    with pytest.raises(ConfigurationError, match=r"named by EXPORT: .*Allowed: a path, s3://") as caught:
        read(org({"env": "EXPORT"}, format="csv"))
    assert "geheim" not in str(caught.value)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 that others wrote, where it is installed."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.filterwarnings("ignore")  # other people's packages
def test_s3_as_others_wrote_it(s3: str, org: Make, read: Read, tmp_path: Path) -> None:
    import s3fs

    files = s3fs.S3FileSystem()
    files.mkdir("exports")
    files.pipe_file("exports/c.parquet", parquet(tmp_path))
    assert read(org("s3://exports/c.parquet"))[0][0] == "1"
    assert "1 columns" in probe(org("s3://exports/c.parquet"))
    for missing in ("s3://exports/d.parquet", "s3://nowhere/c.parquet"):
        with pytest.raises(ConfigurationError, match="no such file"):
            read(org(missing))
