"""A configuration is read strictly, and everything wrong with it is told at once."""

import dataclasses
import datetime
import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dustd import config as config_module
from dustd import config_lines
from dustd.config import BodySettings, Config, FolderSettings, OutputSettings, load
from dustd.errors import ConfigError

EXAMPLE = config_module.EXAMPLE


@pytest.fixture
def write(tmp_path):
    def write_config(text):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


def problems_of(path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.problem.splitlines()


# --- the example --------------------------------------------------------------------------------------------------


def test_a_database_that_stations_share_is_named_by_its_url_with_variables_put_in(write, monkeypatch):
    monkeypatch.setenv("DUST_PASSWORD", "secret")
    config = load(write('folders: [{path: in}]\nmap: {store: "postgresql+psycopg://dustd:$DUST_PASSWORD@nas/dust"}'))
    assert config.map.store == "postgresql+psycopg://dustd:secret@nas/dust"
    assert config.map.state_folder == Config().map.store.parent


@pytest.mark.parametrize(
    ("url", "words"), [("mysql://nas/dust", "does not know"), ("postgresql://$NOBODY_SET_IT@nas/dust", "NOBODY_SET_IT")]
)
def test_a_database_that_cannot_be_used_is_refused(write, url, words):
    with pytest.raises(ConfigError, match=words):
        load(write(f"folders: [{{path: in}}]\nmap: {{store: '{url}'}}"))


def test_a_missing_library_for_the_database_is_told_with_its_remedy(write, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"psycopg.*dustd\[postgres\]"):
        load(write("folders: [{path: in}]\nmap: {store: 'postgresql://nas/dust'}"))


def test_the_example_holds_the_defaults(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    example = load(EXAMPLE)
    assert example.folders == (FolderSettings(path=Path.home() / "Pictures/Capture"),)
    assert dataclasses.replace(example, folders=()) == Config()


def test_the_six_lines_on_top_of_the_example_are_a_whole_configuration(write):
    lines = EXAMPLE.read_text().splitlines()
    begin = lines.index("#   folders:")
    text = "\n".join(line.removeprefix("#") for line in lines[begin : begin + 6])
    assert load(write(text)) == load(EXAMPLE)


def every_key(cls, prefix=""):
    for entry in dataclasses.fields(cls):
        yield f"{prefix}{entry.name}"
        default = entry.default_factory() if callable(entry.default_factory) else entry.default
        if dataclasses.is_dataclass(default):
            yield from every_key(type(default), f"{prefix}{entry.name}.")


def test_the_example_shows_every_key():
    shown = yaml.safe_load(EXAMPLE.read_text())
    for key in every_key(Config):
        place = shown
        for part in key.split("."):
            assert part in place, key
            place = place[part]
    assert {entry.name for entry in dataclasses.fields(FolderSettings)} == set(shown["folders"][0])
    assert all(f"{entry.name}:" in EXAMPLE.read_text() for entry in dataclasses.fields(BodySettings))


def test_every_key_of_the_example_has_a_comment_above_it():
    lines = EXAMPLE.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        is_key = line.strip() and not line.strip().startswith(("#", "- "))
        opens_group = line.endswith(":") and not line.startswith(" ")
        if is_key and not opens_group:
            assert above.strip().startswith("#"), line


def test_advice_to_clean_now_must_not_come_before_soon(write):
    path = write("folders: [{path: in}]\nreport: {soon: {visible_at_f11: 12}, now: {visible_at_f11: 10}}")
    (problem,) = problems_of(path)
    assert "report.now.visible_at_f11" in problem and "make it the larger" in problem
    assert load(write("folders: [{path: in}]\nreport: {soon: {visible_at_f11: 12}, now: {visible_at_f11: 0}}"))


@pytest.mark.parametrize(
    ("reminders", "words"),
    [
        ("webhook: ftp://desk/x", "begin it with https://"),
        ("webhook: desk.example", "begin it with https://"),
        ("webhook: 'https://'", "begin it with https://"),
        ("webhook: 'https://desk:port/'", "not a web address"),
        ("webhook: 'https://me:pass@desk/'", "user name"),
        ("webhook: 'https://desk/a b'", "%XX"),
        ("webhook: 'https://desk/ü'", "%XX"),
        ("webhook: 5", "quotes"),
        ("command: mail desk", "begin each item with a dash"),
        ("command: [mail, 5]", "put it in quotes"),
        ("command: ['', x]", "begin with the program"),
    ],
)
def test_a_reminder_that_cannot_work_is_refused_with_its_key_and_a_remedy(write, reminders, words):
    (problem,) = problems_of(write(f"folders: [{{path: in}}]\nreminders: {{{reminders}}}"))
    assert ": reminders." in problem and words in problem


def test_a_reminders_program_counts_from_the_file_if_it_is_a_path(write):
    path = write("folders: [{path: in}]\nreminders: {command: [bin/tell, ~/x], webhook: 'https://desk.example/h?k=1'}")
    assert load(path).reminders.command == (str(path.parent / "bin/tell"), "~/x")
    for program, known in (("~/tell", str(Path.home() / "tell")), ("mail", "mail")):
        path = write(f"folders: [{{path: in}}]\nreminders: {{command: [{program}]}}")
        assert load(path).reminders.command == (known,)


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_folder_is_all_a_file_must_say(write):
    path = write("folders: [{path: in}]")
    assert load(path) == Config(folders=(FolderSettings(path=path.parent / "in"),))


def test_keys_left_empty_mean_the_defaults(write):
    config = load(write("folders: [{path: /in, sensitivity: }]\nbodies:\noutput:\nsensitivity:\n"))
    assert config == Config(folders=(FolderSettings(path=Path("/in")),))


def test_an_empty_file_will_do_where_nothing_is_watched(write):
    assert load(write(""), watching=False) == Config()


def test_paths_take_the_home_folder_and_environment_variables(write, monkeypatch):
    monkeypatch.setenv("SHOOT", "/mnt/today")
    config = load(write("folders: [{path: $SHOOT/in}]\nmap: {store: ~/maps.sqlite}\nmodel: {id: ~/model}"))
    assert config.folders[0].path == Path("/mnt/today/in")
    assert config.map.store == Path.home() / "maps.sqlite"
    assert config.model.id == str(Path.home() / "model")


def test_relative_paths_count_from_the_file_and_output_from_the_watched_folder(write):
    path = write("folders: [{path: ./in}]\nmap: {store: maps.sqlite}\nmodel: {id: ./best}\noutput: {folder: ../out}")
    config = load(path)
    assert config.folders[0].path == path.parent / "in"
    assert config.map.store == path.parent / "maps.sqlite"
    assert config.model.id == str(path.parent / "best")
    assert config.output_folder(config.folders[0]) == path.parent / "out"


def test_a_shipped_model_keeps_its_plain_name(write):
    assert load(write("folders: [{path: /in}]\nmodel: {id: nano-2}")).model.id == "nano-2"


def test_a_body_goes_before_its_folder_and_a_folder_before_the_rest(write):
    config = load(
        write(
            "sensitivity: 10\nfolders: [{path: /a, sensitivity: 20}, {path: /b}]\n"
            'bodies: {"Canon 1": {sensitivity: 0}, "Canon 2": {}}'
        )
    )
    assert config.sensitivity_of("Canon 1", Path("/a/x.CR3")) == 0
    assert config.sensitivity_of("Canon 2", Path("/a/x.CR3")) == 20
    assert config.sensitivity_of("Nikon 3", Path("/b/deep/x.NEF")) == 10
    assert config.sensitivity_of("Nikon 3", Path("/elsewhere/x.NEF")) == 10


def test_the_state_and_configuration_folders_follow_xdg_where_absolute(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert Config().map.store == Path("/state/dustd/maps.sqlite")
    assert config_module.default_path() == Path.home() / ".config/dustd/config.yaml"


# --- refusing -----------------------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_with_file_key_and_remedy(write):
    path = write(
        "sensitivty: 40\nsensitivity: 140\nfolders:\n  - {path: /in, sensitivity: true}\n  - {pth: /x}\n"
        "bodies: {A: {sensitivity: high}, 12: {}}\noutput: {format: tif, jpeg_quality: 3.5}\nlog: loud\n"
        "watch: {quiet_s: .nan, give_up_s: 1}\n"
    )
    lines = problems_of(path)
    assert all(line.startswith(f"{path}: ") and "; " in line for line in lines)
    assert [line.removeprefix(f"{path}: ").split(": ")[0] for line in lines] == [
        "sensitivty",
        "sensitivity",
        "folders[0].sensitivity",
        "folders[1].pth",
        "folders[1].path",
        "bodies.12",
        "bodies.A.sensitivity",
        "output.format",
        "output.jpeg_quality",
        "watch.quiet_s",
        "log",
        "watch.give_up_s",
    ]


def test_a_misspelt_key_is_answered_with_the_likely_one(write):
    (line,) = problems_of(write("folders: [{path: /in}]\noutput: {fromat: dng}"))
    assert "output.fromat" in line and "did you mean format?" in line


def test_a_misspelt_choice_is_answered_with_the_likely_one(write):
    (line,) = problems_of(write("folders: [{path: /in}]\noutput: {format: TIF}"))
    assert "did you mean tiff?" in line


@pytest.mark.parametrize("value", ["-1", "100.5", "'50'", "yes", ".inf", "[50]", "{a: 1}"])
def test_a_sensitivity_that_is_not_a_number_from_0_to_100_is_refused(write, value):
    (line,) = problems_of(write(f"folders: [{{path: /in}}]\nsensitivity: {value}"))
    assert ": sensitivity: " in line and "from 0 to 100" in line


@pytest.mark.parametrize("value", [0, 100, 50, 0.5])
def test_every_sensitivity_from_0_to_100_is_taken(write, value):
    assert load(write(f"folders: [{{path: /in}}]\nsensitivity: {value}")).sensitivity == value


def test_a_key_given_twice_is_refused(write):
    with pytest.raises(ConfigError, match="sensitivity is given twice") as caught:
        load(write("folders: [{path: /in}]\nsensitivity: 1\nsensitivity: 2"))
    assert "line 3" in caught.value.problem


def test_a_variable_that_is_not_set_is_refused(write, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    (line,) = problems_of(write("folders: [{path: '${NOWHERE}/in'}]"))
    assert "environment variable NOWHERE" in line


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("folders: []", "folders", "no folder to watch"),
        ("folders: [{path: /in}, {path: /in/}]", "folders[1].path", "same folder"),
        ("folders: [{path: /in}, {path: /in/deep, output: /out}]", "folders[1].path", "inside the other"),
        ("folders: [{path: /in/deep, output: /out}, {path: /in}]", "folders[1].path", "inside the other"),
        ("folders: [{path: /in}]\noutput: {folder: .}", "folders[0].output", "among the originals"),
        ("folders: [{path: /in}]\noutput: {folder: /in/../in}", "folders[0].output", "among the originals"),
        ("folders: [{path: /in/a}]\noutput: {folder: ..}", "folders[0].output", "contains the watched folder"),
        ("folders: [{path: /a, output: /b/out}, {path: /b}]", "folders[0].output", "inside another watched"),
        ("folders: [{path: /a}, {path: /b}]\noutput: {folder: /out}", "folders[1].output", "too"),
        ("folders: [{path: /a}]\nwatch: {quiet_s: 20, give_up_s: 10}", "watch.give_up_s", "quiet_s"),
    ],
)
def test_settings_that_get_in_each_others_way_are_refused(write, text, key, words):
    (line,) = problems_of(write(text))
    assert f": {key}: " in line and words in line


def test_a_folder_watched_twice_through_a_link_is_refused(write, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (line,) = problems_of(write("folders: [{path: in}, {path: link, output: /out}]"))
    assert "same folder" in line


def test_folders_side_by_side_with_similar_names_are_fine(write):
    assert len(load(write("folders: [{path: /shoot}, {path: /shoot-2}]")).folders) == 2


@pytest.mark.parametrize(
    "content",
    [
        *(b"a: [", b"\xff\xfe\x00", b"a: b: c", b"\t- x", b"- 1", b"1", b"!!python/object:os.x {}", b"? {a: 1}: 2"),
        b"sensitivity: " + 5000 * b"9",
        b"folders: " + 3000 * b"[" + 3000 * b"]",
        b'folders: [{path: "\\ud800"}]',
    ],
)
def test_what_is_not_a_configuration_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_aliases_that_make_a_page_endless_are_answered_in_a_few_words(tmp_path):
    path = tmp_path / "config.yaml"
    doubled = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    path.write_text(f"a0: &a0 [x]\n{doubled}folders: [*a59]\n")
    with pytest.raises(ConfigError, match="folders") as caught:
        load(path)
    assert len(max(str(caught.value).splitlines(), key=len)) < 1000


def test_a_missing_file_and_a_folder_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


words = st.text("abz:$~ /\0", max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.just(datetime.date(2026, 1, 1)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "id", "store", "x", 1]), inner)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Config)]), plain))
def test_no_content_gets_through_as_anything_but_a_config_or_a_config_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=False), encoding="utf-8")
    try:
        config = load(path)
    except ConfigError:
        return
    assert 0 <= config.sensitivity <= 100 and isinstance(config.output, OutputSettings)


# --- what looks right and is not ------------------------------------------------------------------------------------


def test_what_a_variable_holds_is_taken_as_it_is(write, monkeypatch):
    monkeypatch.setenv("DUSTD_PASSWORD", "pa$word")
    monkeypatch.delenv("word", raising=False)
    config = load(write("folders: [{path: in}]\nmap: {store: 'postgresql://u:$DUSTD_PASSWORD@nas/dust'}"))
    assert config.map.store == "postgresql://u:pa$word@nas/dust"


def test_two_dollars_are_one_and_the_remedy_says_so(write, monkeypatch, tmp_path):
    monkeypatch.delenv("archiv", raising=False)
    (problem,) = problems_of(write("folders: [{path: Kunden$archiv/neu}]"))
    assert "write $$archiv for a plain $" in problem
    assert load(write("folders: [{path: Kunden$$archiv/neu}]")).folders[0].path == tmp_path / "Kunden$archiv/neu"


def test_keys_may_be_brought_along_by_a_merge(write, tmp_path):
    config = load(write("folders:\n  - &a\n    path: a\n    sensitivity: 40\n  - <<: *a\n    path: b\n"))
    assert [(each.path, each.sensitivity) for each in config.folders] == [(tmp_path / "a", 40), (tmp_path / "b", 40)]


def test_an_address_is_no_folder(write):
    (problem,) = problems_of(write("folders: [{path: 'smb://nas/photos'}]"))
    assert "is an address, not a path" in problem and "connect the share" in problem


def test_a_bare_path_is_answered_with_how_to_write_it(write):
    (problem,) = problems_of(write("folders: [~/x]"))
    assert problem.endswith("write it as path: ~/x")


def test_one_wrong_folder_hides_no_mistake_of_the_others(write):
    said = "\n".join(problems_of(write("folders: [~/x, {path: a}, {path: a/b}, {path: a, output: .}]")))
    for mistake in ("folders[0]: '~/x'", "folders[2].path: one of it and folders[1]", "folders[3].output: cleaned"):
        assert mistake in said
    assert "folders[3].path: is the same folder as folders[1].path" in said


def test_settings_of_a_folder_hold_whichever_name_it_is_called_by(write, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    for named, other in (("link", "disk"), ("disk", "link")):
        config = load(write(f"folders: [{{path: {named}, sensitivity: 10}}]"))
        assert config.sensitivity_of("any", tmp_path / other / "a.nef") == 10
        assert config.sensitivity_of("any", tmp_path / "elsewhere" / "a.nef") == 50


def test_a_hash_inside_a_name_is_told_from_a_remark():
    text = (
        "folders:\n  - path: /srv/Client #12/raw\n  - path: /srv/b  # the studio\n  - path: '/srv/c #1'\nrescan: 3 #s\n"
    )
    assert config_lines.comments_in_values(text) == [(2, "#12/raw"), (5, "#s")]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("web: {listen: 0.0.0.0}", "password"),
        ("web: {listen: 192.168.1.20}", "password"),
        ("web: {listen: studio.local}", "address"),
        ("web: {port: 65536}", "65535"),
    ],
)
def test_a_page_that_would_let_anybody_in_is_refused(tmp_path, text, word):
    path = tmp_path / "config.yaml"
    path.write_text(f"folders: [{{path: in}}]\n{text}\n")
    with pytest.raises(ConfigError, match=word):
        load(path)


def test_a_password_file_counts_from_the_configurations_folder(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("folders: [{path: in}]\nweb: {listen: 0.0.0.0, password_file: page-password}\n")
    assert load(path).web.password_file == tmp_path / "page-password"


def test_the_lines_of_a_file_are_found_key_by_key(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("sensitivity: 40\nfolders:\n  - path: in\n    output: out\noutput: {format: tiff}\nbodies:\n")
    assert config_lines.lines_of(path) == {
        "sensitivity": 1,
        "folders": 2,
        "folders[0].path": 3,
        "folders[0].output": 4,
        "output.format": 5,
    }
    path.write_text("a: [")
    assert config_lines.lines_of(path) == config_lines.lines_of(tmp_path / "none.yaml") == {}
