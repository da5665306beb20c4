"""What the doctor finds: on machines as they are, and with certificates, ports and directories that are not well."""

import asyncio
import contextlib
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim import doctor
from fastim.adapters.lmdb import LmdbStore
from fastim.adapters.lmdb.environment import DirectoryLock
from fastim.certificates import validity
from fastim.descriptors import connections_for
from fastim.doctor import Finding, examine
from fastim.machine import machine_bytes
from fastim.settings import Limits, Server, Settings, Store, Tls
from tests.authority import Authority

# Self-signed, made by openssl. One ends before 2050 and one after, which X.509 writes differently.
ENDS_2040 = """-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUeT/mp9kS1LHef5VxmSr+p858jpQwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKaW0uZXhhbXBsZTAeFw0yNjExMjMwMTQ1MzFaFw00MDA4MDEw
MTQ1MzFaMBUxEzARBgNVBAMMCmltLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQu2kmDCr9Vi3hXGt8E1WoSM9MOCrm6WMphE9OjJgCIgAXyyFFzpbhO
ZOH4eGMvgiSRpLlcliTR9A8sI5ln4hogo1MwUTAdBgNVHQ4EFgQU3uCqERFFxS5M
Uf0LP9G6U+4HLh4wHwYDVR0jBBgwFoAU3uCqERFFxS5MUf0LP9G6U+4HLh4wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAnMdWZUUQBCfXo1RjqnwA
2tJ9/PdKOWB0kJx5PbNcf6gCIFLxu4+U7i6CsXT+jlqoq/ODOQymAVpjXttyE3te
MbRb
-----END CERTIFICATE-----
"""
ENDS_2081 = """-----BEGIN CERTIFICATE-----
MIIBgDCCASegAwIBAgIUKLVs0ky/1fMaT+lynU695O0flTkwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKaW0uZXhhbXBsZTAgFw0yNjExMjMwMTQ1MzFaGA8yMDgxMDgy
NjAxNDUzMVowFTETMBEGA1UEAwwKaW0uZXhhbXBsZTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABC7aSYMKv1WLeFca3wTVahIz0w4KubpYymET06MmAIiABfLIUXOl
uE5k4fh4Yy+CJJGkuVyWJNH0DywjmWfiGiCjUzBRMB0GA1UdDgQWBBTe4KoREUXF
LkxR/Qs/0bpT7gcuHjAfBgNVHSMEGDAWgBTe4KoREUXFLkxR/Qs/0bpT7gcuHjAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCICXv7MRQPcsCQy3DGi4y
i7pHFR2GLCwqoxd4Vi7xgaZtAiAcE5hgviPD0dYfAfqLB1+BuLybfM5NTCMXOXSf
Uwp9AQ==
-----END CERTIFICATE-----
"""
STARTS = datetime(2026, 11, 23, 1, 45, 31, tzinfo=UTC)
ENDS = {ENDS_2040: datetime(2040, 8, 1, 1, 45, 31, tzinfo=UTC), ENDS_2081: datetime(2081, 8, 26, 1, 45, 31, tzinfo=UTC)}


def make_store(directory: Path) -> None:
    """What a first start leaves behind."""

    async def start_and_stop() -> None:
        await LmdbStore.open(directory).close()

    asyncio.run(start_and_stop())


def only(findings: Iterator[Finding], about: str) -> Finding:
    (found,) = [finding for finding in findings if finding.about == about]
    return found


def test_everything_is_looked_at_in_a_fixed_order(tmp_path: Path) -> None:
    server = Server(data=str(tmp_path), tcp="127.0.0.1:0", http="[::1]:0")
    found = examine(Settings(server=server))
    assert [finding.about for finding in found] == [
        *("python", "uvloop", "lmdb", "native modules", "descriptors", "memory"),
        *("data directory", "cost of a commit", "map size", "port tcp", "port http", "clock"),
    ]
    assert all(finding.says.isprintable() for finding in found)
    assert list(tmp_path.iterdir()) == []


# --- The data directory -----------------------------------------------------------------------------------------------


def test_the_cost_of_a_commit_is_measured_on_the_disk_of_the_data(tmp_path: Path) -> None:
    cost = only(doctor.data_directory(Server(data=str(tmp_path)), Store()), "cost of a commit")
    found = re.fullmatch(r"median ([\d.]+) ms, p99 ([\d.]+) ms, of \d+ writes of 4096 bytes.*", cost.says)
    assert found is not None
    assert 0 < float(found[1]) <= float(found[2])


def test_a_data_directory_that_is_not_there_yet_is_judged_by_its_parent_and_not_made(tmp_path: Path) -> None:
    found = list(doctor.data_directory(Server(data=str(tmp_path / "a" / "b")), Store()))
    assert [finding.about for finding in found] == ["data directory", "cost of a commit", "map size"]
    assert str(tmp_path / "a" / "b") in found[0].says
    assert found[0].state != "failure"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", [".", "below/it"])
def test_a_file_where_the_data_should_go_is_a_failure(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    (found,) = doctor.data_directory(Server(data=str(tmp_path / "file" / below)), Store())
    assert found.state == "failure"
    assert "not a directory" in found.says


def test_a_data_directory_that_cannot_be_written_is_a_failure() -> None:
    # Nobody, root included, makes files there.
    place = "/proc/self" if sys.platform == "linux" else "/System"
    (found,) = doctor.data_directory(Server(data=place), Store())
    assert found.state == "failure"


def test_a_map_larger_than_the_disk_is_a_warning(tmp_path: Path) -> None:
    found = only(doctor.data_directory(Server(data=str(tmp_path)), Store(map_bytes=2**46)), "map size")
    assert found.state == "warning"
    assert "64 TiB at first" in found.says


def test_what_is_stored_already_counts_as_used(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(os.urandom(3 * 2**20))
    with (tmp_path / "data.mdb").open("rb") as file:
        os.fsync(file.fileno())  # before that, some file systems have given it no blocks
    found = only(doctor.data_directory(Server(data=str(tmp_path)), Store()), "map size")
    assert re.search(r" 3(\.0\d+)? MiB in use", found.says)


# --- The store --------------------------------------------------------------------------------------------------------


def test_an_empty_or_missing_data_directory_has_no_store_to_judge(tmp_path: Path) -> None:
    assert list(doctor.store(Server(data=str(tmp_path)))) == []
    assert list(doctor.store(Server(data=str(tmp_path / "none")))) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_whole_and_free_is_fine(tmp_path: Path) -> None:
    make_store(tmp_path)
    assert [finding.state for finding in doctor.store(Server(data=str(tmp_path)))] == ["ok"]


def test_a_store_that_a_server_has_open_is_a_failure(tmp_path: Path) -> None:
    make_store(tmp_path)
    held = DirectoryLock(tmp_path)
    try:
        (found,) = doctor.store(Server(data=str(tmp_path)))
    finally:
        held.release()
    assert found.state == "failure"
    assert f"process {os.getpid()}" in found.says


def test_a_directory_of_other_things_is_a_failure_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    (found,) = doctor.store(Server(data=str(tmp_path)))
    assert found.state == "failure"
    assert "'thesis.txt'" in found.says
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_store_that_is_none_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a store" * 1000)
    (found,) = doctor.store(Server(data=str(tmp_path)))
    assert found.state == "failure"
    assert "data.mdb" in found.says


# --- Ports and descriptors --------------------------------------------------------------------------------------------


def loopbacks() -> Iterator[str]:
    """The loopback addresses that this machine has; containers often lack the second."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            probe.bind((host, 0))
            yield host


@pytest.mark.parametrize("host", list(loopbacks()))
def test_a_port_in_use_is_a_failure_that_names_its_holder(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        (found,) = doctor.ports(Server(tcp=address, http=""))
    assert (found.about, found.state) == ("port tcp", "failure")
    assert f"{address}: in use (" in found.says
    assert (f"process {os.getpid()}" if sys.platform == "linux" else f"lsof -iTCP:{port}") in found.says


def test_a_port_is_free_again_when_the_doctor_has_looked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = Server(tcp=f"127.0.0.1:{port}", http=f"127.0.0.1:{port}")
    assert [finding.state for finding in doctor.ports(server)] == ["ok", "ok"]


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70, "no..name"])
def test_a_host_that_is_not_this_machine_is_a_failure(host: str) -> None:
    (found,) = doctor.ports(Server(tcp=f"{host}:4567", http=""))
    assert found.state == "failure"
    assert "this machine" in found.says or "one that is" in found.says


def test_more_connections_than_descriptors_is_a_warning() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connections_for(hard) < hard
    assert connections_for(10) == 0
    found = doctor.descriptors(Limits(connections=hard))
    assert found.state == "warning"
    assert f"limits.connections asks for {hard}" in found.says


def test_the_memory_that_the_server_may_use_is_half_unless_it_is_said() -> None:
    found = doctor.memory(Limits())
    assert found.state == "ok"
    assert f" may use {doctor._size(machine_bytes() // 2)} before" in found.says
    assert "may use 512 MiB" in doctor.memory(Limits(memory_bytes=2**29)).says


def test_more_memory_than_there_is_is_a_warning() -> None:
    found = doctor.memory(Limits(memory_bytes=2**46))
    assert found.state == "warning"
    assert "may use 64 TiB" in found.says


# --- The certificate --------------------------------------------------------------------------------------------------


def look(tmp_path: Path, pem: str, now: datetime, server: Server | None = None, key: str = "") -> Finding:
    (tmp_path / "certificate.pem").write_text(pem, encoding="utf-8")
    (found,) = doctor.certificate(Tls(str(tmp_path / "certificate.pem"), key), server or Server(), now)
    return found


@pytest.mark.parametrize("pem", ENDS)
def test_a_certificate_says_from_when_until_when_it_holds(pem: str) -> None:
    assert validity(pem) == (STARTS, ENDS[pem])
    assert validity(f"Bag Attributes\n{pem}{ENDS_2040}") == (STARTS, ENDS[pem])


@pytest.mark.parametrize("ends", ENDS.values())
def test_a_certificate_is_judged_by_the_day(tmp_path: Path, ends: datetime) -> None:
    pair, day = Authority(tmp_path).issue("server", STARTS, ends), timedelta(days=1)

    def judge(now: datetime) -> Finding:
        (found,) = doctor.certificate(Tls(str(pair.certificate), str(pair.key)), Server(), now)
        return found

    assert judge(STARTS - day).state == "warning"
    assert "holds from 2026-11-23 01:45" in judge(STARTS - day).says
    assert judge(STARTS).state == "ok"
    assert judge(ends - 30 * day).state == "ok"
    assert judge(ends - 29 * day).says.endswith("in 29 days")
    assert "expired on" in judge(ends).says


def test_no_certificate_is_nothing_to_say() -> None:
    assert list(doctor.certificate(Tls(), Server(), STARTS)) == []


@pytest.mark.parametrize(
    "pem", ["", "-----BEGIN CERTIFICATE-----\n", ENDS_2040[:200], ENDS_2040.replace("MIIB", "MIIC"), "é"]
)
def test_what_is_no_certificate_stops_a_start_only_when_a_listener_needs_it(tmp_path: Path, pem: str) -> None:
    assert look(tmp_path, pem, STARTS).state == "warning"
    assert look(tmp_path, pem, STARTS, Server(tcps="127.0.0.1:0")).state == "failure"


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("not a key", encoding="ascii")
    found = look(tmp_path, ENDS_2040, STARTS, key=str(tmp_path / "key.pem"))
    assert found.state == "warning"
    assert found.says == f"tls.key: {tmp_path / 'key.pem'}: no private key in PEM form"
    missing = look(tmp_path, ENDS_2040, STARTS, key=str(tmp_path / "none.pem"))
    assert missing.says.endswith("No such file or directory")


@given(st.integers(0, 510), st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_refused(at: int, byte: int) -> None:
    text = bytearray(ENDS_2040, "ascii")
    text[at] = byte
    try:
        starts, ends = validity(text.decode("latin-1"))
    except ValueError:
        return
    assert starts.tzinfo is ends.tzinfo is UTC


# --- The clock --------------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_meanwhile_is_a_warning() -> None:

    difference = time.time() - time.monotonic()
    found = doctor.clock(difference - 3600)
    assert found.state == "warning"
    assert re.search(r"was set by 3[56]\d{5} ms", found.says)
    assert "was set by" not in doctor.clock(difference).says


def test_findings_go_into_json() -> None:
    assert msgspec.json.encode(Finding("clock", "ok", "fine")) == b'{"about":"clock","state":"ok","says":"fine"}'
