from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote

import pytest

from pipeline.errors import BadInput
from pipeline.parallel import REQUESTS, map_ordered
from pipeline.storage import urls
from pipeline.storage.disk import Disk


class Quiet(SimpleHTTPRequestHandler):
    """Serve a folder, and print nothing."""

    def log_message(self, *said):
        return None


@contextmanager
def serving(folder):
    """Serve a folder on this machine, and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "folder", "name"),
    [
        ("/data/x-000000.tar", "/data", "x-000000.tar"),
        ("x.tar", ".", "x.tar"),
        ("s3://bucket/val/x.tar", "s3://bucket/val", "x.tar"),
        ("https://host:8080/x.tar", "https://host:8080", "x.tar"),
    ],
)
def test_a_place_is_a_folder_and_a_name(url, folder, name):
    assert urls.split(url) == (folder, name)
    if "://" in url:
        assert urls.join(folder, name) == urls.join(folder + "/", name) == urls.absolute(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:hush@bucket/store", "holds credentials.*environment"),
        ("https://user@host/store", "holds credentials"),
        ("https://host/x.tar?X-Amz-Signature=hush", "holds credentials"),
        ("https://host/run#2/x.tar", "holds a #, .* write %23"),
        ("ftp://host/store", "expected a path or a URL such as s3://"),
        ("s3:///store", "expected a path or a URL"),
        ("pipe:cat /etc/passwd", "expected a path or a URL"),
    ],
)
def test_what_is_no_place_is_refused_and_no_secret_repeated(url, said):
    with pytest.raises(BadInput, match=said) as caught:
        urls.at(url)
    assert "hush" not in str(caught.value)


def test_names_of_files_on_a_web_server_are_those_of_its_disk(tmp_path):
    """Also where the address writes them in other characters, as browsers do."""
    odd = ("two words", "100%", "a+b", "a#b", "ä", "a=b[1]~", "a%20b")
    (tmp_path / "a folder").mkdir()
    for name in odd:
        (tmp_path / "a folder" / name).write_text(name)
    with serving(tmp_path) as base:
        for name in odd:
            for folder in ("a folder", "a%20folder"):
                place, last = urls.split(f"{base}/{folder}/{quote(name)}")
                assert (last, urls.at(place, 1).read(last)) == (name, name.encode())


def test_a_file_url_is_a_path(tmp_path):
    files = urls.at(f"file://{tmp_path}/store")
    assert isinstance(files, Disk) and files.root == tmp_path / "store"


def test_patterns_stand_for_files_that_are_not_hidden_in_order(tmp_path):
    files = Disk(tmp_path)
    for name in ("b/2.tar", "b/1.tar", "a/3.tar", "a/.4.tar", ".c/5.tar", "a/6.txt", "a/d/7.tar", "8.tar"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    names = [entry.name for entry in urls.matching(files, "*/*.tar")]
    assert names == ["a/3.tar", "b/1.tar", "b/2.tar"]
    assert [entry.name for entry in urls.matching(files, "?.tar")] == ["8.tar"]
    assert list(urls.matching(files, "none/*.tar")) == []
    assert urls.expand(str(tmp_path / "b/*.tar")) == [str(tmp_path / "b/1.tar"), str(tmp_path / "b/2.tar")]
    with pytest.raises(BadInput, match="write out their numbers"):
        urls.expand("https://host/x-*.tar")


def test_work_together_keeps_its_order_and_is_not_far_ahead():
    asked = []

    def items():
        for i in range(1000):
            asked.append(i)
            yield i

    found = map_ordered(lambda i: i * i, items())
    assert next(found) == 0 and len(asked) <= 2 * REQUESTS + 1
    assert list(found) == [i * i for i in range(1, 1000)]
    with pytest.raises(ZeroDivisionError):
        list(map_ordered(lambda i: 1 / i, [1, 0]))
