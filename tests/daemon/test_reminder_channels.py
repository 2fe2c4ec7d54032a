"""Commands run and webhooks are posted to with all the facts; what goes wrong is said and ends in time."""

import json
import os
import socket
import sys
import threading
import time

import pytest

from dustd.config import ReminderSettings
from dustd.daemon.reminder_channels import UndeliveredError, configured, post, run_command

FACTS = {"event": "sensor_needs_cleaning", "body_id": "Nikon Z 8 #1", "visible_at_f11": 21, "frames_touched": None}


def python(code):
    return (sys.executable, "-c", code)


# --- command ------------------------------------------------------------------------------------------------------


def test_a_command_gets_the_facts_on_standard_input_and_in_its_environment(tmp_path):
    told = tmp_path / "told.json"
    code = (
        "import json, os, sys; given = {k: v for k, v in os.environ.items() if k.startswith('DUSTD_')};"
        f"json.dump([json.load(sys.stdin), given, sys.argv[1:]], open({str(told)!r}, 'w'))"
    )
    run_command((*python(code), "$HOME; rm -rf *"), FACTS)
    facts, environment, arguments = json.loads(told.read_text())
    assert facts == FACTS
    assert environment["DUSTD_BODY_ID"] == "Nikon Z 8 #1"
    assert environment["DUSTD_VISIBLE_AT_F11"] == "21"
    assert environment["DUSTD_FRAMES_TOUCHED"] == ""
    assert arguments == ["$HOME; rm -rf *"]  # no shell has seen it


def test_a_hostile_name_reaches_the_command_as_text(tmp_path):
    told = tmp_path / "told"
    code = f"import os; open({str(told)!r}, 'w').write(os.environ['DUSTD_BODY_ID'])"
    run_command(python(code), {"body_id": "a\0b\ud800 $(touch x) `y`"})
    assert told.read_text() == "ab? $(touch x) `y`"


def test_a_command_that_reads_nothing_and_says_much_is_fine():
    run_command(python("print('x' * 10**6)"), {"body_id": "y" * 10**6})


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("/no/such/program",), "cannot be run"),
        (("/",), "cannot be run"),
        (python("import sys; print('first', file=sys.stderr); sys.exit('no mail server')"), "code 1: no mail server"),
        (python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)"), "exit code -15"),
    ],
)
def test_a_command_that_fails_says_how(argv, words):
    with pytest.raises(UndeliveredError, match=words):
        run_command(argv, {"body_id": "x"})


def test_a_command_that_hangs_is_stopped_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    with pytest.raises(UndeliveredError, match="took longer than 3 s"):
        run_command(python(code), FACTS, limit_s=3)
    wait_for(lambda: not alive(int(pid.read_text())))


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# --- webhook ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 204])
def test_a_webhook_gets_the_facts_as_json(server, code):
    post(f"{server.url}/{code}", FACTS)
    ((path, headers, facts),) = server.posted
    assert path == f"/hook/secret/{code}"
    assert headers["Content-Type"] == "application/json"
    assert facts == FACTS


@pytest.mark.parametrize("code", [302, 307, 308, 400, 404, 500])
def test_a_webhook_that_refuses_or_redirects_is_a_failure_and_nobody_else_is_told(server, code):
    with pytest.raises(UndeliveredError, match=f"127.0.0.1 answered {code}") as caught:
        post(f"{server.url}/{code}", FACTS)
    assert "secret" not in str(caught.value)
    assert len(server.posted) == 1


def test_a_webhook_that_is_away_is_a_failure():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/secret"
        with pytest.raises(UndeliveredError, match="cannot be reached") as caught:
            post(url, FACTS)
    assert "secret" not in str(caught.value)


def test_a_webhook_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UndeliveredError, match="timed out"):
        post(f"http://127.0.0.1:{silent.getsockname()[1]}/", FACTS, limit_s=0.3)


def test_a_server_that_answers_nonsense_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"what?\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UndeliveredError, match="cannot be reached"):
            post(f"http://127.0.0.1:{listening.getsockname()[1]}/", FACTS)


# --- both ---------------------------------------------------------------------------------------------------------


def test_only_what_is_configured_goes_out(server):
    assert configured(ReminderSettings()) == {}
    ways = configured(ReminderSettings(command=("true",), webhook=f"{server.url}/200"))
    assert list(ways) == ["command", "webhook"]
    for way in ways.values():
        way(FACTS)
    assert len(server.posted) == 1
