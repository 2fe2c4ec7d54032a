import os
import socket

import pytest

from dustd.daemon import systemd


@pytest.fixture(params=["file", "abstract"])
def listener(request, tmp_path, monkeypatch):
    if request.param == "abstract" and os.uname().sysname != "Linux":
        pytest.skip("abstract sockets are Linux only")
    address = str(tmp_path / "notify") if request.param == "file" else f"@dustd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        sock.settimeout(10.0)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield sock


def test_messages_reach_the_service_manager(listener):
    systemd.ready()
    systemd.heartbeat()
    systemd.status("idle,\n3 waiting")
    systemd.stopping()
    heard = [listener.recv(1000) for _ in range(4)]
    assert heard[0] == b"READY=1" and heard[1].startswith(b"WATCHDOG=1\n")
    assert heard[2:] == [b"STATUS=idle, 3 waiting", b"STOPPING=1"]


def test_a_start_may_take_as_long_as_heartbeats_come(listener):
    systemd.heartbeat()
    (_, extended) = listener.recv(1000).decode().splitlines()
    assert extended == "EXTEND_TIMEOUT_USEC=600000000"  # no less than WatchdogSec and TimeoutStartSec


def test_without_a_service_manager_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.ready()


def test_a_service_manager_that_has_gone_stops_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.heartbeat()


def test_a_service_manager_that_does_not_listen_stops_nobody(listener):
    for _ in range(5000):  # far more than any receive buffer holds; waiting for each would never end
        systemd.heartbeat()
    assert listener.recv(1000).startswith(b"WATCHDOG=1")
