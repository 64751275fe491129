"""The server: who may ask, what is answered, and that no request reaches anything but the page and the stores' figures."""

import http.client
import json
import socket
import threading
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.view import neighbours
from pipeline.view.server import guard, serving
from tests.support.stores import viewer

ROWS = {"store": "0", "limit": 3}


@pytest.fixture
def server(serve, read):
    return serve(read)


def raw(server, text, wait=10.0):
    """Sends bytes as they are; returns the first line of the answer, empty if the connection just ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(text)
        return connection.makefile("rb").readline().decode().strip()


def test_the_page_its_questions_and_their_answers(server, read):
    status, headers, body = server.ask("")
    assert (status, body) == (200, viewer.PAGE["index.html"]) and headers["content-type"].startswith("text/html")
    assert server.ask("scripts/view.js")[2] == b"1;"
    status, _, content = server.ask("api/stores.json")
    assert status == 200 and content["stores"] == [read.content] and content["live"] is True
    assert content["rules"] == ["single", "vote", "mean", "persistent"] and content["rule_texts"].keys() == set(
        content["rules"]
    )
    status, _, rows = server.ask("api/rows.json", ROWS)
    assert status == 200 and rows["total"] == 594 and len(rows["rows"]) == 3
    row = dict(zip(rows["columns"], rows["rows"][0], strict=True))
    status, _, image = server.ask(f"api/image.json?store=0&shard={row['shard']}&key={row['image_key']}")
    assert (
        status == 200
        and len(image["rows"]) == 9
        and len(image["rows"][-1]["adv_top5"]) == image["rows"][-1]["evaluation_draws"]
    )


def test_what_did_not_change_is_not_sent_again(server, read):
    assert server.ask(f"api/stores.json?revision={read.revision}")[0] == 304
    assert server.ask(f"api/stores.json?revision={read.revision - 1}")[0] == 200
    assert server.ask("api/stores.json?revision=")[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:80", "127.0.0.1.evil.com", "localhost.evil.com", "0.0.0.0", "", "127.0.0.2"]
)
def test_a_foreign_host_name_is_refused(server, host):
    """A page of another name that resolves to this machine can ask nothing (DNS rebinding), even if it knew the token."""
    for path in ("", "api/stores.json"):
        status, headers, body = server.ask(path, headers={"Host": host})
        assert status == 403 and b"synthetic" not in body and "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9000", "LOCALHOST:80", "[::1]:8000", "[::1]"])
def test_names_of_this_machine_may_ask_also_through_a_tunnel(server, host):
    assert server.ask("api/stores.json", headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    "token", ["", "secret", viewer.TOKEN[:-1], viewer.TOKEN + "x", viewer.TOKEN.upper(), "%00", "..", "api"]
)
def test_without_the_token_there_is_nothing(server, token):
    answers = [server.ask(path, token=token) for path in ("", "api/stores.json", "index.html")]
    answers.append(server.ask("api/rows.json", ROWS, token=token))
    assert {(status, body) for status, _, body in answers} == {(404, b"open the address that barrage view printed")}


def test_the_token_in_another_place_opens_nothing(server):
    for path in (f"/x/{viewer.TOKEN}/", f"//{viewer.TOKEN}/", f"/?token={viewer.TOKEN}", f"/x/../{viewer.TOKEN}/"):
        assert raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).startswith("HTTP/1.1 404")


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/pyproject.toml", "scripts/../../app.py",
        "/etc/passwd", "scripts/view.js/../../../app.py", "scripts%5c..%5c..%5capp.py", "index.html%00.js", "__init__.py",
        "scripts", "scripts/", "file:///etc/passwd", "api/..%2findex.html", "api/", "api/stores", "api/stores.json/x",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(server, path):
    line = raw(server, f"GET /{viewer.TOKEN}/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert line.startswith("HTTP/1.1 404")


TRICKS = [
    "../../etc/passwd",
    "/etc/passwd",
    "0/../../x",
    "\x00",
    "%2e%2e%2f",
    "'; DROP TABLE rows; --",
    "x" * 5000,
    "{}",
    "\ud7ff",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_parameters_are_names_and_nothing_else(server, trick):
    from urllib.parse import urlencode

    good = {"store": "0", "cell": "resnet50-none-pgd", "shard": "val-000000", "key": "image-00000001", "what": "clean"}
    questions = {"image.json": ("store", "shard", "key")}
    for question, names in questions.items():
        for name in names:
            status, _, body = server.ask(f"api/{question}?{urlencode(good | {name: trick})}")
            assert status == 400 and isinstance(body["error"], str) and len(body["error"]) < 1500
    assert server.ask("api/stores.json")[2]["stores"][0]["rows"] == 594, "nothing was dropped"


def test_a_missing_parameter_is_named(server):
    for question in ("image.json", "picture.png", "draws.json", "compare.json", "errors.json"):
        status, _, body = server.ask(f"api/{question}")
        assert status in (400, 404) and "is missing" in body["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_nothing_can_be_written(server, method):
    for path in ("", "api/stores.json", "api/image.json?store=0&shard=a&key=b", "scripts/view.js"):
        assert server.ask(path, b"{}", method=method)[0] in (400, 404, 405)


def test_rows_are_asked_by_post_alone(server):
    assert server.ask("api/rows.json")[0] == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"NaN", b"\xff\xfe", b"[" * 100_000, b'{"where": [[' + b"9" * 100_000 + b"]]}"]
)
def test_a_body_that_is_no_query_is_refused_in_one_line(server, body):
    status, _, answer = server.ask("api/rows.json", body)
    assert status == 400 and "\n" not in answer["error"] and len(answer["error"]) < 1500


def test_a_hundred_megabytes_are_refused_before_they_are_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", f"/{viewer.TOKEN}/api/rows.json")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    answer = connection.getresponse()  # nothing of the body was sent
    assert answer.status == 413 and b"at most" in answer.read()
    connection.close()


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 40, "abc"])
def test_a_length_that_is_none_is_refused(server, length):
    text = f"POST /{viewer.TOKEN}/api/rows.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
    assert raw(server, text).split(" ")[1:2] in (["400"], ["413"])


def test_a_body_of_unknown_length_is_cut_off(server):
    """Chunked: no header tells its size."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = f"POST /{viewer.TOKEN}/api/rows.json HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(head.encode())
    sent, part = 0, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    try:
        while sent < 100 << 20:
            connection.sendall(part)
            sent += 0x10000
            connection.setblocking(False)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                pass
            connection.settimeout(30)
    except (BrokenPipeError, ConnectionResetError):
        pass
    connection.settimeout(30)
    assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 413") and sent < 20 << 20
    connection.close()


def test_answers_tell_the_browser_to_trust_nothing_else(server):
    for path, token in (("", viewer.TOKEN), ("api/stores.json", viewer.TOKEN), ("nothing", viewer.TOKEN), ("", "wrong")):
        _, headers, _ = server.ask(path, token=token)
        assert headers["content-security-policy"] == guard.CSP and "default-src 'none'" in guard.CSP
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store" and "server" not in headers
        assert "access-control-allow-origin" not in headers and "set-cookie" not in headers


def test_it_listens_on_the_loopback_alone():
    listening = serving.bound(0)
    assert listening.getsockname()[0] == "127.0.0.1"
    with pytest.raises(BadInput, match=f"--port {listening.getsockname()[1]} cannot be used"):
        serving.bound(listening.getsockname()[1])
    listening.close()


def test_many_may_ask_at_once(server):
    """Each gets its own answer."""
    found, errors = {}, []

    def ask(k):
        try:
            for _ in range(5):
                found.setdefault(k, set()).add(server.ask("api/rows.json", {"where": [["k", "=", k]], "limit": 1})[2]["total"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(k,)) for k in (0, 2, 10, 99) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and found == {0: {198}, 2: {198}, 10: {198}, 99: {0}}


def test_comparisons_and_errors_are_made_once_until_rows_change(serve, half, monkeypatch):
    calls = []

    def made(kind, answer):
        def make(*asked):
            calls.append(kind)
            return answer

        return make

    monkeypatch.setattr(neighbours, "compared", made("compare", {"problem": None, "figure": float("nan")}))
    monkeypatch.setattr(neighbours, "errors", made("errors", {"parts": []}))
    store = viewer.watched(half)
    server = serve(store)
    compare = "api/compare.json?first=0&first_cell=a&second=0&second_cell=b&rule=single&top=1"
    for _ in range(2):
        assert server.ask(compare)[2] == {"problem": None, "figure": None}
        assert server.ask("api/errors.json?store=0&cell=a")[2] == {"parts": []}
    assert calls == ["compare", "errors"]
    store.reading.version += 1
    server.ask(compare)
    assert calls == ["compare", "errors", "compare"]


def test_a_rule_that_there_is_not_is_refused(server):
    for query in ("rule=best&top=1", "rule=single&top=2", "rule=single&top=x"):
        for question in (
            f"api/errors.json?store=0&cell=a&{query}",
            f"api/compare.json?first=0&first_cell=a&second=0&second_cell=b&{query}",
        ):
            status, _, body = server.ask(question)
            assert status in (400, 501) and "error" in body


def test_serving_leaves_the_store_as_it_is(serve, half):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(half).rglob("*")}
    server = serve(viewer.watched(half))
    row = server.ask("api/rows.json", ROWS)[2]["rows"][0]
    assert row and {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(half).rglob("*")} == before


def test_the_command_says_in_one_line_what_it_cannot_do(barrage, tmp_path, half):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    for arguments, said in (
        (["view", half, "--export", tmp_path / "full"], "not empty"),
        (["view", half, "--port", "70000"], "--port"),
        (["view"], "Missing argument"),
    ):
        code, out, err = barrage(*arguments)
        assert code == 2 and said in err and out == "", err


def test_a_server_that_is_asked_for_json_answers_json(server):
    _, headers, body = server.ask("api/stores.json")
    assert headers["content-type"] == "application/json" and json.loads(json.dumps(body)) == body
