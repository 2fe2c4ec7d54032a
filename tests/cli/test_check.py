"""`dustd check` finds what would get in the way of a shoot, says what to do, and changes nothing."""

import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from dustd.cli import check
from dustd.config import Config, FolderSettings, MapSettings, ReminderSettings, WebSettings
from dustd.config_reader import Url
from dustd.daemon import scan
from dustd.dustmap.store import Store
from dustd.errors import ConfigError
from tests.dustmap.test_recovery import observed

Usage = namedtuple("Usage", "total used free")


def levels(findings):
    return [finding.level for finding in findings]


def only(findings):
    (finding,) = findings
    return finding


@pytest.fixture
def roomy(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 1 << 40))
    monkeypatch.setattr(os, "pathconf", lambda *_: 255)


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_that_can_be_read_is_fine(tmp_path):
    assert only(check.folder_findings("folders[0]", FolderSettings(path=tmp_path))).level == "ok"


def test_a_folder_that_is_away_is_named_with_a_remedy(tmp_path):
    finding = only(check.folder_findings("folders[0]", FolderSettings(path=tmp_path / "gone")))
    assert finding.level == "fail" and str(tmp_path / "gone") in finding.detail and finding.remedy


def test_a_file_in_place_of_a_folder_is_told_apart(tmp_path):
    (tmp_path / "file").touch()
    assert "is not a folder" in only(check.folder_findings("", FolderSettings(path=tmp_path / "file"))).detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_fails(tmp_path):
    tmp_path.chmod(0)
    assert only(check.folder_findings("", FolderSettings(path=tmp_path))).level == "fail"
    tmp_path.chmod(0o700)


def test_a_share_is_fine_but_told(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "is_network", lambda _: True)
    finding = only(check.folder_findings("", FolderSettings(path=tmp_path)))
    assert finding.level == "ok" and "share" in finding.detail


# --- output -------------------------------------------------------------------------------------------------------


def test_an_output_folder_still_to_be_made_is_fine_and_is_not_made(tmp_path, roomy):
    assert only(check.output_findings("", tmp_path / "Cleaned")).level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_without_its_parent_fails(tmp_path):
    assert only(check.output_findings("", tmp_path / "away" / "Cleaned")).level == "fail"


def test_a_full_disk_and_short_names_are_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 1 << 20))
    monkeypatch.setattr(os, "pathconf", lambda *_: 143)
    findings = list(check.output_findings("", tmp_path))
    assert levels(findings) == ["warn", "warn"] and all(finding.remedy for finding in findings)


def test_an_output_folder_that_cannot_be_written_to_fails():
    proc = Path("/proc/self/fd")
    if not proc.exists():
        pytest.skip("no folder here that even root cannot write to")
    assert only(check.output_findings("", proc)).level == "fail"


def test_the_trial_of_writing_leaves_nothing_behind(tmp_path):
    assert check.write_problem(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


# --- dust maps ----------------------------------------------------------------------------------------------------


def test_maps_that_are_not_there_yet_are_fine_and_are_not_made(tmp_path):
    assert only(check.store_findings(tmp_path / "state" / "dustd" / "maps.sqlite", ())).level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_maps_that_are_there_are_counted(tmp_path):
    Store.open(tmp_path / "maps.sqlite").close()
    finding = only(check.store_findings(tmp_path / "maps.sqlite", ()))
    assert finding.level == "ok" and "0 bodies" in finding.detail


def test_damaged_maps_fail_and_stay_as_they_are(tmp_path):
    path = tmp_path / "maps.sqlite"
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 9)
    before = path.read_bytes()
    finding = only(check.store_findings(path, ()))
    assert finding.level == "fail" and "map rebuild" in finding.remedy
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# --- limits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def limits(tmp_path):
    def write(watches, instances=128):
        folder = tmp_path / "limits"
        folder.mkdir()
        (folder / "max_user_watches").write_text(f"{watches}\n")
        (folder / "max_user_instances").write_text(f"{instances}\n")
        return folder

    return write


def tree(root, folders):
    for index in range(folders - 1):
        (root / str(index)).mkdir(parents=True)
    return root


def test_enough_watches_are_fine(tmp_path, limits):
    assert levels(check.inotify_findings([tree(tmp_path / "in", 10)], limits(20))) == ["ok", "ok"]


def test_too_few_watches_are_warned_of_with_the_number_to_set(tmp_path, limits):
    watches, _ = check.inotify_findings([tree(tmp_path / "in", 10)], limits(19))
    assert watches.level == "warn" and "10 of 19" in watches.detail
    assert "sysctl fs.inotify.max_user_watches=64" in watches.remedy


def test_the_number_to_set_satisfies_the_check(tmp_path):
    for count in range(1, 300):
        raised = 1 << (4 * count - 1).bit_length()
        assert raised >= 2 * count


def test_folders_that_are_away_and_systems_without_inotify_are_passed_over(tmp_path):
    assert list(check.inotify_findings([tmp_path / "gone"], tmp_path / "no-proc")) == []


# --- the whole ----------------------------------------------------------------------------------------------------


def test_each_problem_of_the_configuration_is_a_finding():
    error = ConfigError("c.yaml: a: bad; choose b\nc.yaml: d: worse; remove it", remedy="Correct this")
    findings = list(check.config_findings(error))
    assert [finding.remedy for finding in findings] == ["choose b", "remove it"]
    assert levels(findings) == ["fail", "fail"]


def test_a_configuration_that_is_not_there_is_one_finding(tmp_path):
    error = ConfigError("there is no such file", remedy="Name one with -c", path=tmp_path / "c.yaml")
    finding = only(check.config_findings(error))
    assert str(tmp_path / "c.yaml") in finding.detail and finding.remedy == "Name one with -c"


def test_the_versions_of_what_decides_about_pictures_are_told():
    finding = check.versions()
    assert all(name in finding.detail for name in ("LibRaw", "openvino", "torch", "rfdetr", "Python"))


@pytest.mark.parametrize("gpu", ["NVIDIA", "Apple", None])
def test_what_the_extra_for_gpus_would_bring_depends_on_the_machine(gpu):
    finding = check.device_without_torch("cpu, openvino", gpu)
    assert finding.level == "ok" and finding.detail.startswith("cpu, openvino")
    assert ("pip install 'dustd[gpu]'" in finding.remedy) == (gpu is not None)


def test_everything_is_looked_at_even_if_the_configuration_is_broken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text("folders: [{path: in}]\nsensitivity: 200\n")
    findings = check.check(path)
    about = {finding.about for finding in findings} - {"user"}
    assert about == {"configuration", "dust maps", "model", "device", "session page", "versions"}
    assert all(finding.remedy for finding in findings if finding.level != "ok")


def test_looking_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "in").mkdir()
    path = tmp_path / "config.yaml"
    path.write_text("folders: [{path: in}]\n")
    before = sorted(tmp_path.rglob("*"))
    check.check(path)
    assert sorted(tmp_path.rglob("*")) == before


# --- reminders ----------------------------------------------------------------------------------------------------


def test_a_reminders_command_is_looked_for_and_not_run(tmp_path):
    program = tmp_path / "tell"
    program.write_text("#!/bin/sh\ntouch told\n")
    settings = ReminderSettings(command=(str(program),))
    assert only(check.reminder_findings(settings)).level == "fail"  # not executable
    program.chmod(0o755)
    assert only(check.reminder_findings(settings)).level == "ok"
    assert only(check.reminder_findings(ReminderSettings(command=("no-such-program",)))).remedy
    assert list(tmp_path.iterdir()) == [program]


def test_a_webhook_is_named_by_its_host_only_and_not_tried(server):
    finding = only(check.reminder_findings(ReminderSettings(webhook=f"{server.url}/200")))
    assert finding.level == "ok" and "127.0.0.1" in finding.detail and "secret" not in finding.detail
    assert server.posted == []
    assert list(check.reminder_findings(ReminderSettings())) == []


def test_a_database_that_is_away_is_told_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    finding = only(check.store_findings(Url(f"postgresql://dustd:secret@/dust?host={tmp_path}"), ()))
    assert finding.level == "fail" and "cannot be used now" in finding.detail
    assert "secret" not in finding.detail + finding.remedy


def test_running_as_root_is_warned_of(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert levels(check.user_findings()) == ["warn"]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert levels(check.user_findings()) == []


def test_a_name_cut_off_at_a_hash_is_warned_of(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("folders:\n  - path: /srv/Client #12/raw\n")
    (warning,) = [each for each in check.check(path) if each.level == "warn" and each.about == "configuration"]
    assert "'#12/raw' is read as a comment" in warning.detail and "in quotes" in warning.remedy


def test_settings_for_a_body_that_the_maps_do_not_know_are_warned_of(tmp_path):
    with Store.open(tmp_path / "maps.sqlite") as store:
        store.observe(observed(0, body="Canon EOS R5 #12345678901"))
    path = tmp_path / "config.yaml"
    body = "bodies: {'Canon EOS R5 012345678901': {sensitivity: 0}, 'Canon EOS R5 #12345678901': {sensitivity: 1}}"
    path.write_text(f"folders: [{{path: in}}]\nmap: {{store: maps.sqlite}}\n{body}\n")
    (warning,) = [each for each in check.check(path) if each.level == "warn" and each.about == "configuration"]
    assert "Canon EOS R5 012345678901 is not known" in warning.detail
    assert warning.remedy == "Did you mean Canon EOS R5 #12345678901?"


def test_a_page_for_a_lan_is_warned_of_and_so_is_a_password_that_others_can_read(tmp_path):
    password = tmp_path / "password"
    password.write_text("sesam\n")
    password.chmod(0o644)
    web = WebSettings(port=free_port(), listen="0.0.0.0", password_file=password)
    told = [(each.level, each.remedy) for each in check.page_findings(Config(web=web))]
    assert [level for level, _ in told] == ["ok", "warn", "warn"]
    assert "TLS" in told[1][1] and told[2][1] == f"chmod 600 {password}"
    password.chmod(0o600)
    assert [each.level for each in check.page_findings(Config(web=web))] == ["ok", "warn"]
    password.write_text("")
    (only,) = check.page_findings(Config(web=web))
    assert only.level == "warn" and "first line" in only.remedy


def test_a_page_whose_port_another_program_has_is_warned_of(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        web = WebSettings(port=taken.getsockname()[1])
        (only,) = check.page_findings(Config(web=web, map=MapSettings(store=tmp_path / "maps.sqlite")))
    assert only.level == "warn" and "web.port" in only.remedy
    assert list(check.page_findings(Config(web=WebSettings(port=0)))) == []


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
