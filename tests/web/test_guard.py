"""Who gets in, and what they may ask: requests to the page's real process, as browsers and strangers send them."""

import socket
import time

import pytest

from dustd.web import access
from dustd.web.guard import is_known_host
from dustd.web.messages import Access
from tests.web.conftest import LIMIT_S, PASSWORD

PAGES = ("/", "/bodies", "/trouble", "/settings")


def test_a_browser_with_a_cookie_sees_every_page(page):
    frame = page.get("/api/v1/frames?limit=1")[1]["frames"][0]["id"]
    for path in (*PAGES, f"/frames/{frame}"):
        status, headers, data = page.ask("GET", path)
        assert (status, headers["content-type"].partition(";")[0]) == (200, "text/html"), path
        assert b"<!doctype html>" in data[:100].lower()


@pytest.mark.parametrize(
    "cookie",
    [None, "dustd=", "dustd=1.2", pytest.param(f"dustd={access.ticket(b'other', 'stay')}", id="another's")],
)
def test_without_a_cookie_of_ours_nothing_is_told(page, cookie):
    for path in PAGES:
        status, _, data = page.ask("GET", path, Cookie=cookie)
        assert status == 401 and b"dustd open" in data
    for path in ("state", "frames", "trouble", "settings", "bodies", "events", "openapi.yaml"):
        status, _, data = page.ask("GET", f"/api/v1/{path}", Cookie=cookie)
        assert status == 401 and b"F0000" not in data
    assert page.post("/api/v1/pause", Cookie=cookie)[0] == 401


def test_a_ticket_that_opens_is_no_cookie(page):
    ticket = access.ticket(page.secret, "open")
    assert page.ask("GET", "/", Cookie=f"dustd={ticket}")[0] == 401


def test_a_ticket_of_dustd_open_is_exchanged_for_a_strict_cookie(page):
    status, headers, _ = page.ask("GET", f"/open?token={access.ticket(page.secret, 'open')}", Cookie=None)
    assert status == 200
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert page.ask("GET", "/", Cookie=cookie.partition(";")[0])[0] == 200


@pytest.mark.parametrize("token", ["", "x", "9" * 400, "1.%00", "99999999999." + "0" * 64])
def test_another_token_opens_nothing(page, token):
    status, headers, _ = page.ask("GET", f"/open?token={token}", Cookie=None)
    assert status == 401 and "set-cookie" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1.evil.com", "", "["])
def test_a_name_that_rebinds_to_this_machine_is_refused(page, host):
    host = host.format(port=page.port)
    assert page.ask("GET", "/api/v1/state", Host=host)[0] in (400, 421)
    assert page.ask("GET", "/open?token=x", Host=host)[0] in (400, 421)
    assert page.ask("POST", "/api/v1/pause", "{}", Host=host, Origin=f"http://{host}")[0] in (400, 403, 421)
    assert page.asked.empty()


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "file://"]
)
def test_a_command_of_another_origin_is_refused(page, origin):
    assert page.post("/api/v1/pause", Origin=origin)[0] == 403
    assert page.asked.empty()


def test_answers_allow_a_browser_nothing_from_elsewhere(page):
    for path in ("/", "/api/v1/state", "/static/app.js", "/nowhere"):
        _, headers, _ = page.ask("GET", path)
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/frames/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/frames/../../../../etc/passwd",
        "/api/v1/frames/%2e%2e/thumbnail.jpg",
        "/api/v1/frames/%00/thumbnail.jpg",
        "/api/v1/frames/" + "a" * 3000,
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/%2e%2e/config.py",
        "/static//etc/passwd",
        "/frames/..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_address_leads_to_a_file(page, path):
    status, _, data = page.ask("GET", path)
    assert status in (400, 404) and b"root:" not in data and b"import" not in data


def test_no_page_but_settings_tells_a_path_of_the_machine(page):
    place = str(page.home).encode()
    frame = page.get("/api/v1/frames?limit=1")[1]["frames"][0]["id"]
    for path in ("state", "frames", f"frames/{frame}", "trouble", "bodies"):
        assert place not in page.ask("GET", f"/api/v1/{path}")[2], path
    assert place in page.ask("GET", "/api/v1/settings")[2]


def test_a_large_body_is_refused_whatever_it_says_its_length_is(page):
    assert page.ask("POST", "/api/v1/pause", **{"Content-Length": str(10 << 20)})[0] == 413
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = (
        f"POST /api/v1/pause HTTP/1.1\r\nHost: {page.host}\r\nCookie: {page.cookie}\r\nOrigin: http://{page.host}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", page.port), timeout=LIMIT_S) as sock:
        sock.sendall(head.encode() + chunk + b"1\r\nx\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413")
    assert page.asked.empty()


def test_slow_senders_are_cut_off_while_others_are_served(own_page):
    page = own_page(1)
    slow = []
    for begun in (b"", b"GET /api/v1/state HTTP/1.1\r\nHo", b"POST /login HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"):
        sock = socket.create_connection(("127.0.0.1", page.port), timeout=LIMIT_S)
        sock.sendall(
            begun.replace(
                b"POST /login HTTP/1.1\r\n",
                f"POST /login HTTP/1.1\r\nHost: {page.host}\r\nOrigin: http://{page.host}\r\n".encode(),
            )
        )
        slow.append(sock)
    assert page.get("/api/v1/state")[0] == 200
    for sock in slow:
        data = b""
        with sock:
            while more := sock.recv(4096):
                data += more
        assert b"200 OK" not in data


def test_wrong_passwords_are_throttled(own_page):
    page = own_page(1, listen="127.0.0.1", password=PASSWORD)
    headers = {"Cookie": None, "Content-Type": "application/x-www-form-urlencoded"}
    statuses = [page.ask("POST", "/login", "password=wrong", **headers)[0] for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert page.ask("POST", "/login", f"password={PASSWORD}", **headers)[0] == 429


def test_the_password_lets_a_browser_in(own_page):
    page = own_page(1, password=PASSWORD)
    headers = {"Cookie": None, "Content-Type": "application/x-www-form-urlencoded"}
    status, told, _ = page.ask("POST", "/login", f"password={PASSWORD}", **headers)
    assert status == 200
    assert page.ask("GET", "/", Cookie=told["set-cookie"].partition(";")[0])[0] == 200


def test_on_a_lan_addresses_are_known_and_names_are_not():
    lan = Access(secret=b"", listen="0.0.0.0", port=8377)
    assert is_known_host("192.168.1.20:8377", lan) and is_known_host("[fe80::1]:8377", lan)
    assert not is_known_host("studio.example:8377", lan)
    assert not is_known_host("192.168.1.20:8377", Access(secret=b"", listen="127.0.0.1", port=8377))


def test_the_secret_is_for_this_user_alone_and_outlives_restarts(tmp_path):
    door = access.keep(tmp_path, "http://127.0.0.1:8377")
    assert (tmp_path / access.FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert access.keep(tmp_path, None).secret == door.secret
    assert access.read(tmp_path).address is None


def test_a_ticket_holds_for_its_time_and_purpose():
    ticket = access.ticket(b"s", "open", now=1000.0)
    assert access.is_valid(b"s", "open", ticket, now=1000.0 + access.OPEN_S - 1)
    assert not access.is_valid(b"s", "open", ticket, now=1000.0 + access.OPEN_S + 1)
    assert not access.is_valid(b"s", "stay", ticket, now=1000.0)
    assert not access.is_valid(b"t", "open", ticket, now=1000.0)


def test_a_page_that_is_not_read_is_dropped_and_others_go_on(own_page):
    page = own_page(1)
    head = f"GET /api/v1/events HTTP/1.1\r\nHost: {page.host}\r\nCookie: {page.cookie}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", page.port), timeout=LIMIT_S) as deaf:
        deaf.sendall(head)
        time.sleep(0.1)
        assert page.get("/api/v1/state")[0] == 200
