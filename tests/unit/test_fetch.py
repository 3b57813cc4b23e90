import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from twelve.cli import main
from twelve.convert import fetch as fetching
from twelve.convert.fetch import Fetcher
from twelve.convert.remote import FRUITLESS, LONGEST_WAIT_S, TAIL, Remote
from twelve.convert.table import PUBLISHED, Table
from twelve.errors import ConfigInvalid, FetchFailed

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
VQA, GQA = b"(lp0\nS'yes'\np1\na.", b"(lp0\nS'no'\np1\na."
WANTED = {"VQA/cache/trainval_label2ans.pkl": "vqa.pkl", "gqa/cache/trainval_label2ans.pkl": "gqa.pkl"}


@dataclass
class Served:
    """What a server does with one address.

    Attributes:
        content: Of the file.
        etag: Sent where it is not empty.
        cuts: Bytes after which each of the next connections breaks off.
        statuses: What each of the next requests is answered instead of the file.
        ranges: Whether a part may be asked for.
        shift: Bytes by which a part begins elsewhere than asked.
        moved_to: Where a redirect leads, if it is one.
        extra_headers: Sent on top, in place of others of the same name; None leaves one out.
        asked: The range of each request so far.
    """

    content: bytes
    etag: str = ""
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0
    moved_to: str = ""
    extra_headers: dict[str, str | None] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)


class Site:
    """Addresses and what is served there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.served: dict[str, Served] = {}

    def put(self, name: str, served: Served) -> str:
        self.served[f"/{name}"] = served
        return f"{self.url}/{name}"


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served = site.served.get(self.path)
            if served is None:
                return self.send_error(404)
            asked = self.headers.get("range")
            served.asked.append(asked)
            if served.statuses:
                return self.send_error(served.statuses.pop(0))
            if served.moved_to:
                self.send_response(302)
                self.send_header("location", served.moved_to)
                self.send_header("content-length", "0")
                return self.end_headers()
            return send(self, served, asked)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def send(handler: BaseHTTPRequestHandler, served: Served, asked: str | None) -> None:
    whole, start = len(served.content), 0
    if asked is not None and served.ranges:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= whole:
            return handler.send_error(416)
        start += served.shift
    body = served.content[start:]
    headers = {"content-length": str(len(body))} | ({"etag": served.etag} if served.etag else {})
    if asked is not None and served.ranges:
        headers["content-range"] = f"bytes {start}-{whole - 1}/{whole}"
    cut = served.cuts.pop(0) if served.cuts else len(body)  # before an answer can lead to the next request
    handler.send_response(206 if "content-range" in headers else 200)
    for name, value in (headers | served.extra_headers).items():
        if value is not None:
            handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):  # the other side may have seen enough
        handler.wfile.write(body[:cut])
    handler.close_connection = True


@dataclass
class Fetching:
    """Runs the fetcher in a folder, and keeps what it waited and showed."""

    folder: Path
    client: httpx.Client
    waits: list[float] = field(default_factory=list)
    shown: list[tuple[str, int, int]] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def __call__(self, table: dict[str, object]) -> dict[str, bool]:
        """Fetch; say of each file whether it was there."""
        fetcher = Fetcher(self.folder, self.watch, lambda address: Remote(address, self.client, wait=self.wait))
        return {one.path.name: one.was_there for one in fetcher.fetch(Table.model_validate(table))}

    def wait(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.meanwhile()

    @contextlib.contextmanager
    def watch(self, name: str, *, length: int, start: int) -> Iterator[Callable[[int], None]]:
        self.shown.append((name, length, start))
        self.arrived.append(0)

        def count(more: int) -> None:
            self.arrived[-1] += more

        yield count

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, follow_redirects=True) as client:
        yield client


@pytest.fixture
def fetch(tmp_path: Path, client: httpx.Client) -> Fetching:
    return Fetching(tmp_path / "published", client)


def file_of(address: str, **changes: object) -> dict[str, object]:
    return {"file": [{"name": "weights", "about": "", "address": address, "save": "weights.bin", **changes}]}


def archive_of(address: str) -> dict[str, object]:
    return {"archive": [{"name": "answers", "about": "", "address": address, "members": WANTED}]}


def tar(entries: list[tuple[tarfile.TarInfo, bytes]], *, compressed: bool = True) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content) if entry.isreg() else 0
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0) if compressed else stream.getvalue()


def regular(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def link(name: str, target: str, *, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


LISTS = [
    regular("datasets/VQA/cache/trainval_label2ans.pkl", VQA),
    regular("datasets/gqa/cache/trainval_label2ans.pkl", GQA),
]


def test_a_file_arrives_whole_and_nothing_else_is_left(site: Site, fetch: Fetching) -> None:
    address = site.put("f", Served(CONTENT))
    assert fetch(file_of(address, sha256=hashlib.sha256(CONTENT).hexdigest())) == {"weights.bin": False}
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT
    assert fetch.names() == ["weights.bin"]
    assert fetch.shown == [("weights", len(CONTENT), 0)]
    assert fetch.arrived == [len(CONTENT)]


def test_a_file_that_stands_there_is_not_asked_for(site: Site, fetch: Fetching) -> None:
    served = Served(CONTENT)
    address = site.put("f", served)
    fetch(file_of(address))
    asked = len(served.asked)
    assert fetch(file_of(address)) == {"weights.bin": True}
    assert len(served.asked) == asked


@pytest.mark.parametrize("etag", ["", '"1"', 'W/"1"'])
@pytest.mark.parametrize(
    "cuts", [[0], [1], [TAIL], [TAIL - 1, TAIL + 1], [len(CONTENT) - 1], [100_000, 70_000, 60_000]]
)
def test_cut_connections_are_gone_on_from_where_they_ended(
    site: Site, fetch: Fetching, cuts: list[int], etag: str
) -> None:
    served = Served(CONTENT, etag=etag, cuts=[0, *cuts])  # the first answer is only looked at
    fetch(file_of(site.put("f", served)))
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT
    assert len(served.asked) == 2 + len(cuts)
    if cuts[0] > TAIL:
        assert served.asked[2] == f"bytes={cuts[0] - TAIL}-"
    assert len(fetch.waits) == len(cuts)


def test_a_server_without_ranges_is_read_from_the_beginning_again(site: Site, fetch: Fetching) -> None:
    served = Served(CONTENT, ranges=False, cuts=[0, 50_000, 200_000])
    fetch(file_of(site.put("f", served)))
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT


def test_a_later_run_goes_on_where_the_earlier_one_was_given_up(site: Site, fetch: Fetching) -> None:
    served = Served(CONTENT, etag='"1"', cuts=[0, 120_000, *[0] * FRUITLESS])
    address = site.put("f", served)
    with pytest.raises(FetchFailed, match=r"attempts in a row brought nothing.*run the same command again"):
        fetch(file_of(address))
    assert fetch.names() == ["weights.bin.part", "weights.bin.part.json"]
    served.cuts.clear()
    fetch(file_of(address))
    assert served.asked[-1] == f"bytes={120_000 - TAIL}-"
    assert fetch.shown[-1] == ("weights", len(CONTENT), 120_000)
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT


def test_waits_double_up_to_a_limit(site: Site, fetch: Fetching) -> None:
    with pytest.raises(FetchFailed):
        fetch(file_of(site.put("f", Served(CONTENT, statuses=[503] * FRUITLESS))))
    assert fetch.waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert max(fetch.waits) <= LONGEST_WAIT_S


def test_what_a_busy_server_refuses_is_asked_for_again(site: Site, fetch: Fetching) -> None:
    fetch(file_of(site.put("f", Served(CONTENT, statuses=[503, 429, 500]))))
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(site: Site, fetch: Fetching, status: int) -> None:
    served = Served(CONTENT, statuses=[status])
    with pytest.raises(FetchFailed, match=rf"answered {status}.*--table"):
        fetch(file_of(site.put("f", served)))
    assert len(served.asked) == 1


@pytest.mark.parametrize(("before", "after"), [('"1"', '"2"'), ("", "")])
def test_a_file_that_changed_between_attempts_is_begun_again(
    site: Site, fetch: Fetching, before: str, after: str
) -> None:
    served = Served(CONTENT, etag=before, cuts=[0, 120_000])
    address = site.put("f", served)

    def change() -> None:
        served.content, served.etag = OTHER, after

    fetch.meanwhile = change
    fetch(file_of(address))
    assert (fetch.folder / "weights.bin").read_bytes() == OTHER


@pytest.mark.parametrize("after", [Served(OTHER, etag='"2"'), Served(CONTENT[:100_000], etag='"1"'), Served(OTHER)])
def test_a_file_that_changed_between_runs_is_begun_again(site: Site, fetch: Fetching, after: Served) -> None:
    etag = after.etag and '"1"'
    address = site.put("f", Served(CONTENT, etag=etag, cuts=[0, 120_000, *[0] * FRUITLESS]))
    with pytest.raises(FetchFailed):
        fetch(file_of(address))
    site.put("f", replace(after, asked=[]))
    fetch(file_of(address))
    assert (fetch.folder / "weights.bin").read_bytes() == after.content


def test_a_file_that_changes_again_and_again_is_given_up(site: Site, fetch: Fetching) -> None:
    served = Served(CONTENT, etag='"0"', cuts=[0, 100_000] * 20)
    address = site.put("f", served)

    def change() -> None:
        served.etag = f'"{len(served.asked)}"'

    fetch.meanwhile = change
    with pytest.raises(FetchFailed, match="changed on the server"):
        fetch(file_of(address))


def test_a_server_that_goes_on_elsewhere_is_not_believed(site: Site, fetch: Fetching) -> None:
    with pytest.raises(FetchFailed, match=r"asked for byte 118976 on, got bytes 118981-"):
        fetch(file_of(site.put("f", Served(CONTENT, cuts=[0, 120_000], shift=5))))


def test_a_server_that_claims_to_go_on_and_does_not_is_asked_for_everything(site: Site, fetch: Fetching) -> None:
    served = Served(CONTENT, cuts=[0, 120_000])

    def begin_to_lie() -> None:
        served.extra_headers = {"content-range": f"bytes {120_000 - TAIL}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        served.shift = 5

    fetch.meanwhile = begin_to_lie
    fetch(file_of(site.put("f", served)))
    assert served.asked[-2:] == [None, None]
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("told", [{"content-length": "400000"}, {"content-length": "200000"}])
def test_a_wrong_length_makes_no_file(site: Site, fetch: Fetching, told: dict[str, str]) -> None:
    address = site.put("f", Served(CONTENT, extra_headers=told))
    with pytest.raises(FetchFailed):
        fetch(file_of(address, sha256=hashlib.sha256(CONTENT).hexdigest()))
    assert "weights.bin" not in fetch.names()


def test_a_length_that_is_not_told_is_refused(site: Site, fetch: Fetching) -> None:
    with pytest.raises(FetchFailed, match="does not tell the file's length"):
        fetch(file_of(site.put("f", Served(CONTENT, extra_headers={"content-length": None}))))


def test_a_file_smaller_than_what_it_must_hold_is_refused_before_it_is_downloaded(site: Site, fetch: Fetching) -> None:
    address = site.put("f", Served(b"<html>moved</html>"))
    with pytest.raises(FetchFailed, match=r"has 18 bytes, weights has at least 1,000; this is another file"):
        fetch(file_of(address, at_least=1000))
    assert fetch.names() == []


def test_a_file_with_another_hash_is_not_kept(site: Site, fetch: Fetching) -> None:
    address = site.put("f", Served(CONTENT))
    with pytest.raises(FetchFailed, match=r"has sha256 .* the table states"):
        fetch(file_of(address, sha256="0" * 64))
    assert fetch.names() == []


def test_a_file_that_stands_there_is_refused_where_it_is_smaller_than_what_it_must_hold(fetch: Fetching) -> None:
    fetch.folder.mkdir()
    (fetch.folder / "weights.bin").write_bytes(b"")
    with pytest.raises(
        FetchFailed, match=r"weights\.bin: has 0 bytes, expected at least 1; delete it and run the same"
    ):
        fetch(file_of("http://127.0.0.1:1/f"))


def test_a_file_that_stands_there_is_refused_where_it_has_another_hash(fetch: Fetching) -> None:
    fetch.folder.mkdir()
    (fetch.folder / "weights.bin").write_bytes(OTHER)
    with pytest.raises(FetchFailed, match=r"weights\.bin: has sha256 .*, the table states .*; delete it and run"):
        fetch(file_of("http://127.0.0.1:1/f", sha256=hashlib.sha256(CONTENT).hexdigest()))
    assert fetch.names() == ["weights.bin"]


def test_a_list_that_stands_there_is_refused_where_it_is_empty(fetch: Fetching) -> None:
    fetch.folder.mkdir()
    for name in WANTED.values():
        (fetch.folder / name).write_bytes(b"")
    with pytest.raises(FetchFailed, match=r"vqa\.pkl: has 0 bytes, expected at least 1; delete it"):
        fetch(archive_of("http://127.0.0.1:1/a"))


def test_an_empty_list_in_an_archive_is_refused_and_not_kept(site: Site, fetch: Fetching) -> None:
    address = site.put("a", Served(tar([regular(LISTS[0][0].name), LISTS[1]])))
    with pytest.raises(FetchFailed, match=r"/a: vqa\.pkl has 0 bytes in it, expected at least 1; try another address"):
        fetch(archive_of(address))
    assert fetch.names() == []


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Log in</title>", b"\r\n  <html></html>"])
def test_a_web_page_is_not_kept_as_a_file(site: Site, fetch: Fetching, page: bytes) -> None:
    with pytest.raises(FetchFailed, match=r"is a web page, not the file that was published; try again, or another"):
        fetch(file_of(site.put("f", Served(page))))
    assert fetch.names() == []


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_a_file_that_is_sent_encoded_is_refused(site: Site, fetch: Fetching, encoding: str) -> None:
    served = Served(gzip.compress(CONTENT), extra_headers={"content-encoding": encoding})
    with pytest.raises(FetchFailed, match=rf"is sent {encoding}-encoded though asked for as it is"):
        fetch(file_of(site.put("f", served)))
    assert fetch.names() == []


def test_a_file_that_is_said_to_be_sent_as_it_is_arrives(site: Site, fetch: Fetching) -> None:
    fetch(file_of(site.put("f", Served(CONTENT, extra_headers={"content-encoding": "identity"}))))
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT


def test_an_archive_may_be_said_to_be_compressed(site: Site, fetch: Fetching) -> None:
    fetch(archive_of(site.put("a", Served(tar(LISTS), extra_headers={"content-encoding": "x-gzip"}))))
    assert (fetch.folder / "vqa.pkl").read_bytes() == VQA


def test_a_disk_without_room_is_refused_before_anything_is_downloaded(
    site: Site, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_free(monkeypatch, fetching.MARGIN + len(CONTENT) - 1)
    with pytest.raises(FetchFailed, match=r"weights needs 0\.00 GB more and the disk has .*free some"):
        fetch(file_of(site.put("f", Served(CONTENT))))
    assert fetch.arrived == []


def test_a_redirect_is_followed(site: Site, fetch: Fetching) -> None:
    there = site.put("there", Served(CONTENT, cuts=[0, 100_000]))
    fetch(file_of(site.put("here", Served(b"", moved_to=there))))
    assert (fetch.folder / "weights.bin").read_bytes() == CONTENT


def test_a_redirect_in_a_circle_is_a_failed_download(site: Site, fetch: Fetching) -> None:
    with pytest.raises(FetchFailed, match=r"cannot be asked for: .*redirects"):
        fetch(file_of(site.put("here", Served(b"", moved_to=f"{site.url}/here"))))


@pytest.mark.parametrize("address", ["http://[", "http://127.0.0.1:1/f"])
def test_an_address_that_leads_nowhere_is_a_failed_download(fetch: Fetching, address: str) -> None:
    with pytest.raises(FetchFailed, match=r"check the (address|network)"):
        fetch(file_of(address))


def test_the_answers_are_taken_out_of_the_archive(site: Site, fetch: Fetching) -> None:
    entries = [regular("datasets/VQA/train.json", CONTENT), *LISTS, regular("datasets/vg/data.mdb", OTHER)]
    assert fetch(archive_of(site.put("a", Served(tar(entries))))) == {"vqa.pkl": False, "gqa.pkl": False}
    assert (fetch.folder / "vqa.pkl").read_bytes() == VQA
    assert (fetch.folder / "gqa.pkl").read_bytes() == GQA
    assert fetch.names() == ["gqa.pkl", "vqa.pkl"]


def test_an_archive_is_read_no_further_than_needed(site: Site, fetch: Fetching) -> None:
    archive = tar([*LISTS, *(regular(f"datasets/{n}", random.Random(n).randbytes(10**6)) for n in range(6))])
    fetch(archive_of(site.put("a", Served(archive))))
    assert fetch.arrived[0] < len(archive) / 2


@pytest.mark.parametrize("room", [0, 1 << 40], ids=["not kept", "kept"])
@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without"])
def test_an_archive_survives_cuts(
    site: Site, fetch: Fetching, monkeypatch: pytest.MonkeyPatch, room: int, ranges: bool
) -> None:
    _leave_free(monkeypatch, room)
    archive = tar([regular("datasets/first", CONTENT), *LISTS])
    cuts = [0, 50_000, 120_000, 60_000, 250_000] if ranges else [0, 50_000, 120_000, 250_000]
    fetch(archive_of(site.put("a", Served(archive, ranges=ranges, cuts=cuts))))
    assert fetch.names() == ["gqa.pkl", "vqa.pkl"]
    assert (fetch.folder / "gqa.pkl").read_bytes() == GQA


def test_a_later_run_reads_an_archive_on_from_what_was_kept(site: Site, fetch: Fetching) -> None:
    served = Served(tar([regular("datasets/first", CONTENT), *LISTS]), cuts=[0, 120_000, *[0] * FRUITLESS])
    address = site.put("a", served)
    with pytest.raises(FetchFailed):
        fetch(archive_of(address))
    served.cuts.clear()
    fetch(archive_of(address))
    assert served.asked[-1] == f"bytes={120_000 - TAIL}-"
    assert fetch.names() == ["gqa.pkl", "vqa.pkl"]


HOSTILE = [
    regular("../escaped"),
    regular("/tmp/escaped-absolute"),
    regular("datasets/../../escaped"),
    link("datasets/out", ".."),
    regular("datasets/out/escaped"),
    link("weights.bin", "/etc/passwd"),
    link("datasets/hard", "../escaped", kind=tarfile.LNKTYPE),
    regular("../../VQA/cache/trainval_label2ans.pkl", VQA),
    regular("/gqa/cache/trainval_label2ans.pkl", GQA),
]


def test_an_archive_writes_nothing_but_the_files_named_in_the_table(site: Site, fetch: Fetching) -> None:
    before = {path for path in fetch.folder.parent.rglob("*")}
    fetch(archive_of(site.put("a", Served(tar(HOSTILE)))))
    made = {path for path in fetch.folder.parent.rglob("*")} - before
    assert made == {fetch.folder, fetch.folder / "vqa.pkl", fetch.folder / "gqa.pkl"}
    assert not Path("/tmp/escaped-absolute").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_list_that_is_no_file_in_the_archive_is_refused(site: Site, fetch: Fetching, kind: bytes) -> None:
    archive = tar([link("datasets/VQA/cache/trainval_label2ans.pkl", "/etc/passwd", kind=kind)])
    with pytest.raises(FetchFailed, match="is a link or a folder, expected a file"):
        fetch(archive_of(site.put("a", Served(archive))))
    assert fetch.names() == []


def test_a_list_of_absurd_size_is_refused(site: Site, fetch: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twelve.convert.archive.MOST_BYTES", 10)
    with pytest.raises(FetchFailed, match="expected at most 10"):
        fetch(archive_of(site.put("a", Served(tar(LISTS)))))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no archive at all", "cannot be read as a tar archive"),
        (tar([regular("first", CONTENT), *LISTS])[:-40], "has no gqa/cache/trainval_label2ans.pkl"),
        (tar([regular("first", CONTENT), *LISTS])[:200_000] + bytes(100_000), "cannot be read as a tar archive"),
        (tar([LISTS[0]]), "has no gqa/cache/trainval_label2ans.pkl"),
    ],
    ids=["no archive", "cut short", "damaged", "without a list"],
)
def test_an_archive_that_does_not_fit_is_refused_and_not_kept(
    site: Site, fetch: Fetching, content: bytes, says: str
) -> None:
    with pytest.raises(FetchFailed, match=says):
        fetch(archive_of(site.put("a", Served(content))))
    assert not [name for name in fetch.names() if "answers" in name]


def test_nothing_is_unpickled(site: Site, fetch: Fetching) -> None:
    trace = fetch.folder.parent / "trace"
    hostile = f"cos\nmkdir\n(S'{trace}'\ntR.".encode()
    fetch(archive_of(site.put("a", Served(tar([(LISTS[0][0], hostile), LISTS[1]])))))
    assert (fetch.folder / "vqa.pkl").read_bytes() == hostile
    assert not trace.exists()


def test_the_shipped_table_names_what_the_authors_published() -> None:
    table = Table.read()
    assert [entry.name for entry in table.chosen(()).file] == ["checkpoint", "detector", "detector-config"]
    assert {entry.address.rpartition("/")[0] for entry in (*table.file, *table.archive)} == {
        "https://dl.fbaipublicfiles.com/vilbert-multi-task"
    }
    saved = {name for entry in (*table.file, *table.archive) for name in entry.saved}
    assert all(set(step.needs) <= saved for step in table.next)


def test_an_optional_entry_is_fetched_when_asked_for() -> None:
    table = Table.read().chosen(("pretrained", "answers"))
    assert [entry.name for entry in (*table.file, *table.archive)] == ["pretrained", "answers"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file = 3", "file: "),
        ("[[file]]\nname = 'a'", r"file\.0\.about: Field required"),
        ("[[file]]\nname='a'\nabout=''\naddress='ftp://x/y'\nsave='y'", r"file\.0\.address: .*got 'ftp://x/y'"),
        ("[[file]]\nname='a'\nabout=''\naddress='http://x/y'\nsave='../y'", r"file\.0\.save: .*got '\.\./y'"),
        ("[[file]]\nname='a'\nabout=''\naddress='http://x/y'\nsave='.y'", r"file\.0\.save"),
        ("[[archive]]\nname='a'\nabout=''\naddress='http://x/y'\nmembers={'x'='/etc/x'}", r"archive\.0\.members"),
        ("[[files]]", "files: Extra inputs"),
        ("no toml", "is no TOML"),
        ("[[next]]\nneeds=['a.bin']\nrun='do {1}'", r"next\.0: .*run has \{1\}, which stands for none of the 1 files"),
        ("[[next]]\nneeds=['a.bin']\nrun='do {x}'", r"next\.0: .*run has \{x\}, which stands for none"),
        ("[[next]]\nneeds=['a.bin']\nrun='do {0.parent}'", r"next\.0: .*run has \{0\.parent\}"),
        ("[[next]]\nneeds=['a.bin']\nrun='do {0'", r"next\.0: "),
        ("[[file]]\nname='a'\nabout=''\naddress='http://x/y'\nsave='y'\nat_least=-3", r"file\.0\.at_least: .*got -3"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_its_entry(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=says):
        Table.read(path)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    path.write_bytes(b"\x80\x02")
    with pytest.raises(ConfigInvalid, match=r"table\.toml: is no TOML"):
        Table.read(path)


def test_the_command_leads_no_further_with_a_file_that_is_another_one(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mirror.toml"
    table.write_text(
        json_as_toml(file_of(site.put("f", Served(CONTENT)), at_least=1000))
        + f"\n[[file]]\nname = 'config'\nabout = ''\naddress = '{site.put('c', Served(CONTENT))}'\nsave = 'c.yaml'"
        + "\n[[next]]\nneeds = ['weights.bin']\nrun = 'do {0}'\n"
    )
    to = tmp_path / "to"
    to.mkdir()
    (to / "weights.bin").write_bytes(b"")
    code, shown = _run(capsys, "fetch", "published", to, "--table", table)
    assert (code, shown.out) == (1, "")
    assert shown.err.endswith(
        "weights.bin: has 0 bytes, expected at least 1,000; delete it and run the same command again\n"
    )
    code, shown = _run(capsys, "fetch", "published", to, "--table", table, "--only", "config")
    assert (code, "next: " in shown.out) == (0, False)


def test_the_command_fetches_by_a_table_and_says_what_to_run_next(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PUBLISHED.read_text().replace("https://dl.fbaipublicfiles.com/vilbert-multi-task", site.url)
    table = tmp_path / "mirror.toml"
    table.write_text("\n".join(line for line in text.splitlines() if not line.startswith("at_least")))
    for name in ("multi_task_model.bin", "detectron_model.pth", "detectron_config.yaml"):
        site.put(name, Served(CONTENT))
    site.put("datasets.tar.gz", Served(tar(LISTS)))
    folder = tmp_path / "the files"
    code, shown = _run(capsys, "fetch", "published", folder, "--table", table)
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "detectron_config.yaml",
        "detectron_model.pth",
        "gqa_label2ans.pkl",
        "multi_task_model.bin",
        "vqa_label2ans.pkl",
    ]
    [next_step] = [line for line in shown.out.splitlines() if line.startswith("next: ")]
    assert next_step == (
        f"next: twelve import-checkpoint '{folder}/multi_task_model.bin' --answers '{folder}/vqa_label2ans.pkl' "
        f"--gqa-answers '{folder}/gqa_label2ans.pkl' model_store/published"
    )
    assert hashlib.sha256(CONTENT).hexdigest() in shown.out
    assert "checkpoint" in shown.err  # the bar


def test_the_command_fails_with_a_sentence(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "mirror.toml"
    table.write_text(json_as_toml(file_of(f"{site.url}/gone")))
    code, shown = _run(capsys, "fetch", "published", tmp_path / "to", "--table", table)
    assert code == 1
    assert shown.err.splitlines()[-1].startswith(f"fetch-failed: {site.url}/gone: the server answered 404")
    code, shown = _run(capsys, "fetch", "published", tmp_path / "to", "--table", table, "--only", "nothing")
    assert code == 2
    assert "the table has no 'nothing'; it has weights" in shown.err


def json_as_toml(table: dict[str, object]) -> str:
    """Write a table of one file; JSON's strings are TOML's."""
    [entry] = table["file"]  # type: ignore[misc]
    return "[[file]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in entry.items())


def _run(capsys: pytest.CaptureFixture[str], *arguments: object):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0), capsys.readouterr()


def _leave_free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    usage = shutil.disk_usage(os.curdir)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage._replace(free=count))
