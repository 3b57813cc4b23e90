# ruff: noqa: RUF001  (letters that look like others are the point)
"""Pictures by URL, against local servers: whatever a URL, a name or a redirect says, no socket goes astray."""

import base64
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.bundles import make_tiny_bundle, picture
from twelve import download
from twelve.assembly import Settings
from twelve.deadlines import Deadline
from twelve.download import Downloads
from twelve.errors import ConfigInvalid, DeadlineExceeded, InvalidField, TooLarge, UnreadableImage
from twelve.origins import AllowList, read_url
from twelve.schema import EncodedImage, ImageRef, ImageUrl
from twelve.service import Service
from twelve.wire import Call

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
PICTURE = picture(3, width=40, height=30)
MOST_BYTES = 10_000

NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})

Page = Callable[[BaseHTTPRequestHandler], None]


def page(body: bytes = PICTURE, *, status: int = 200, **headers: str) -> Page:
    def answer(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(status)
        for name, value in {"Content-Type": "image/png", "Content-Length": str(len(body)), **headers}.items():
            asked.send_header(name.replace("_", "-"), value)
        asked.end_headers()
        asked.wfile.write(body)

    return answer


def moved(target: str, status: int = 302) -> Page:
    return page(b"", status=status, Location=target)


class Site:
    """A local web server: what it answers by path, and what it was asked."""

    def __init__(self, address: str, port: int = 0) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.headers["Host"], self.path))
                site.pages[self.path](self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((address, port), Handler)
        self.port = self.server.server_port

    @contextmanager
    def up(self) -> Iterator["Site"]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(HERE).up() as up:
        up.pages["/a.png"] = page()
        yield up


@pytest.fixture
def secret(site: Site) -> Iterator[Site]:
    """Listen where nobody may connect to, at the same port."""
    with Site(ELSEWHERE, site.port).up() as up:
        yield up


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Keep the address of every connection that this process opens."""
    seen: list[tuple[str, int]] = []
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def recorded(self: socket.socket, address: tuple[str, int], real=real) -> object:
            seen.append(address[:2])
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, recorded)
    return seen


class Names:
    """A resolver that answers each question by the next of its answers, and keeps the last."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answers = self.answers[host.split(".")[0]]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def downloads(site: Site, names: Names | None = None) -> Downloads:
    hosts = [f"http://{host}.test:{site.port}" for host in ("images", "more")] + ["images.test"]
    allowed = AllowList.of(hosts, [f"{HERE}/32"])
    return Downloads(allowed, max_bytes=MOST_BYTES, resolve=names or Names(images=[[HERE]], more=[[HERE]]))


def fetch(one: Downloads, url: str) -> bytes:
    [found] = one.fetched([ImageUrl(url=url)], ["image"])
    return found.data


def test_a_picture_is_fetched_under_its_hosts_name_which_is_looked_up_once(site: Site, connects: list) -> None:
    names = Names(images=[[HERE], [ELSEWHERE]])
    assert fetch(downloads(site, names), f"HTTP://Images.Test:{site.port}/a.png") == PICTURE
    assert site.asked == [(f"images.test:{site.port}", "/a.png")]
    assert (names.asked, connects) == (["images.test"], [(HERE, site.port)])


def test_only_urls_are_fetched_and_pictures_keep_their_places(site: Site) -> None:
    sent, ref = EncodedImage(data=b"x"), ImageRef(ref="sha256:" + "0" * 64)
    url = ImageUrl(url=f"http://images.test:{site.port}/a.png")
    found = downloads(site).fetched([sent, url, ref], ["images[0]", "images[1]", "images[2]"])
    assert found == (sent, EncodedImage(data=PICTURE), ref)


def test_a_proxy_of_the_environment_is_not_asked(
    site: Site, secret: Site, connects: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://{ELSEWHERE}:{site.port}")
    assert fetch(downloads(site), f"http://images.test:{site.port}/a.png") == PICTURE
    assert connects == [(HERE, site.port)]


def test_the_next_address_of_a_host_is_tried(site: Site, connects: list) -> None:
    allowed = AllowList.of([f"http://images.test:{site.port}"], [f"{HERE}/32", f"{ELSEWHERE}/32"])
    one = Downloads(allowed, max_bytes=MOST_BYTES, resolve=Names(images=[[ELSEWHERE, HERE]]))
    assert fetch(one, f"http://images.test:{site.port}/a.png") == PICTURE
    assert connects == [(ELSEWHERE, site.port), (HERE, site.port)]


TRICKS = {
    "a host that is not listed": "http://elsewhere.test:{port}/a.png",
    "a listed host at another port": "http://images.test:1{port}/a.png",
    "a listed host by its default port": "http://images.test/a.png",
    "another scheme for a listed host": "https://images.test:{port}/a.png",
    "a host below a listed one": "http://x.images.test:{port}/a.png",
    "a listed host as the beginning of another": "http://images.test.evil.test:{port}/a.png",
    "a trailing dot": "http://images.test.:{port}/a.png",
    "the loopback address": "http://127.0.0.2:{port}/a.png",
    "a decimal address": "http://2130706434:{port}/a.png",
    "an octal address": "http://0177.0.0.2:{port}/a.png",
    "a hexadecimal address": "http://0x7f.0.0.2:{port}/a.png",
    "a hexadecimal number": "http://0x7f000002:{port}/a.png",
    "a short address": "http://127.2:{port}/a.png",
    "nothing for an address": "http://0:{port}/a.png",
    "an IPv6 address": "http://[::1]:{port}/a.png",
    "IPv4 inside IPv6": "http://[::ffff:127.0.0.2]:{port}/a.png",
    "IPv4 inside IPv6 in hexadecimal": "http://[::ffff:7f00:2]:{port}/a.png",
    "6to4": "http://[2002:7f00:2::]:{port}/a.png",
    "NAT64": "http://[64:ff9b::7f00:2]:{port}/a.png",
    "a zone": "http://[fe80::1%25lo]:{port}/a.png",
    "a user that looks like the host": "http://images.test:{port}@127.0.0.2:{port}/a.png",
    "a user of a listed host": "http://127.0.0.2:80@images.test:{port}/a.png",
    "an empty user": "http://@images.test:{port}/a.png",
    "a backslash": "http://127.0.0.2:{port}\\@images.test:{port}/a.png",
    "a fragment before an @": "http://127.0.0.2:{port}#@images.test:{port}/a.png",
    "a question mark before an @": "http://127.0.0.2:{port}?@images.test:{port}/a.png",
    "an encoded host": "http://%69mages.test:{port}/a.png",
    "an encoded slash in the host": "http://127.0.0.2%2f.images.test:{port}/a.png",
    "full-width letters": "http://ｉmages.test:{port}/a.png",
    "a full-width dot": "http://127。0。0。2:{port}/a.png",
    "digits in circles": "http://①②⑦.0.0.2:{port}/a.png",
    "a letter that folds to another": "http://imageſ.test:{port}/a.png",
    "a sign that becomes a letter": "http://images.test\u212a:{port}/a.png",
    "punycode": "http://xn--mages-b4a.test:{port}/a.png",
    "a line break": "http://images.test:{port}/a.png\r\nHost: evil",
    "a line break in the host": "http://images\n.test:{port}/a.png",
    "a blank in front": " http://images.test:{port}/a.png",
    "a null byte": "http://images.test\0.evil.test:{port}/a.png",
    "no slashes": "http:images.test:{port}/a.png",
    "no scheme": "//images.test:{port}/a.png",
    "one slash": "http:/images.test:{port}/a.png",
    "a file": "file:///etc/passwd",
    "a file on a listed host": "file://images.test/etc/passwd",
    "gopher": "gopher://images.test:{port}/_x",
    "FTP": "ftp://images.test:{port}/a.png",
    "data": "data:image/png;base64,AAAA",
    "a port of letters": "http://images.test:http/a.png",
    "a port beyond all": "http://images.test:99999999/a.png",
    "two ports": "http://images.test:{port}:80/a.png",
    "an empty host": "http://:{port}/a.png",
    "localhost": "http://localhost:{port}/a.png",
    "the host's metadata": "http://169.254.169.254/latest/meta-data/",
    "a URL without end": "http://images.test:{port}/" + "a" * 2048,
    "nothing": "",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_name_is_looked_up_and_no_socket_opened_for_a_url_that_is_not_allowed(
    site: Site, secret: Site, connects: list, trick: str
) -> None:
    names = Names(images=[[HERE]])
    with pytest.raises(InvalidField, match=r"^image: ") as refused:
        fetch(downloads(site, names), TRICKS[trick].format(port=site.port))
    assert (names.asked, connects, secret.asked) == ([], [], [])
    assert refused.value.at == "image"


BAD_ADDRESSES = {
    "loopback": [ELSEWHERE],
    "all interfaces": ["0.0.0.0"],
    "private": ["10.0.0.1"],
    "another private": ["172.31.255.255"],
    "a third private": ["192.168.0.1"],
    "link-local, where clouds keep their metadata": ["169.254.169.254"],
    "carrier-grade NAT": ["100.64.0.1"],
    "documentation": ["203.0.113.9"],
    "multicast": ["224.0.0.251"],
    "reserved": ["240.0.0.1"],
    "broadcast": ["255.255.255.255"],
    "IPv6 loopback": ["::1"],
    "IPv6 unspecified": ["::"],
    "IPv4 mapped": ["::ffff:127.0.0.2"],
    "public IPv4 mapped": ["::ffff:8.8.8.8"],
    "IPv4 compatible": ["::127.0.0.2"],
    "6to4": ["2002:7f00:2::1"],
    "Teredo": ["2001:0:53aa:64c:0:fbff:80ff:fffd"],
    "NAT64": ["64:ff9b::7f00:2"],
    "local NAT64": ["64:ff9b:1::7f00:2"],
    "ISATAP": ["2a00:1450::5efe:7f00:2"],
    "global ISATAP": ["2a00:1450::200:5efe:7f00:2"],
    "IPv6 link-local": ["fe80::1"],
    "IPv6 link-local with a zone": ["fe80::1%lo"],
    "a public address with a zone": ["2a00:1450::1%lo"],
    "IPv6 site-local": ["fec0::1"],
    "IPv6 unique local": ["fd00::1"],
    "IPv6 multicast": ["ff02::1"],
    "IPv6 documentation": ["2001:db8::1"],
    "a good one first": [HERE, ELSEWHERE],
    "a good one last": ["::1", HERE],
}


@pytest.mark.parametrize("kind", BAD_ADDRESSES)
def test_no_socket_is_opened_for_a_listed_host_at_an_address_that_is_not_public(
    site: Site, secret: Site, connects: list, kind: str
) -> None:
    one = downloads(site, Names(images=[BAD_ADDRESSES[kind]]))
    with pytest.raises(InvalidField, match="at an address that this server does not connect to"):
        fetch(one, f"http://images.test:{site.port}/a.png")
    assert (connects, secret.asked) == ([], [])


def test_public_addresses_are_allowed() -> None:
    AllowList().check_addresses("images.test", ["8.8.8.8", "2a00:1450:4001::200e"], at="image")


REDIRECTS = {
    "a host that is not listed": "http://elsewhere.test:{port}/a.png",
    "the loopback address": "http://127.0.0.2:{port}/a.png",
    "the metadata": "http://169.254.169.254/latest",
    "a decimal address": "http://2130706434:{port}/a.png",
    "IPv4 inside IPv6": "http://[::ffff:127.0.0.2]:{port}/a.png",
    "a URL without scheme": "//127.0.0.2:{port}/a.png",
    "a user": "http://images.test:{port}@127.0.0.2:{port}/a.png",
    "a user in a relative URL": "//images.test@127.0.0.2:{port}/a.png",
    "another port": "http://images.test:1{port}/a.png",
    "another scheme": "https://images.test:{port}/a.png",
    "a file": "file:///etc/passwd",
    "a backslash": "/\\127.0.0.2:{port}/a.png",
    "a tab": "/\t/127.0.0.2:{port}/a.png",
    "data": "data:image/png;base64,AAAA",
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", REDIRECTS)
def test_no_redirect_leads_astray(site: Site, secret: Site, connects: list, kind: str, status: int) -> None:
    site.pages["/moved"] = moved(REDIRECTS[kind].format(port=site.port), status)
    with pytest.raises(InvalidField):
        fetch(downloads(site), f"http://images.test:{site.port}/moved")
    assert (connects, secret.asked) == ([(HERE, site.port)], [])


def test_a_host_that_is_elsewhere_after_a_redirect_is_refused(site: Site, secret: Site, connects: list) -> None:
    site.pages["/moved"] = moved("/a.png")
    with pytest.raises(InvalidField, match="does not connect to"):
        fetch(downloads(site, Names(images=[[HERE], [ELSEWHERE]])), f"http://images.test:{site.port}/moved")
    assert (connects, secret.asked) == ([(HERE, site.port)], [])


def test_two_redirects_are_followed_and_a_third_is_not(site: Site) -> None:
    site.pages["/3"] = moved("/2")
    site.pages["/2"] = moved(f"http://more.test:{site.port}/1")
    site.pages["/1"] = moved("a.png")
    base = f"http://images.test:{site.port}"
    assert fetch(downloads(site), f"{base}/2") == PICTURE
    with pytest.raises(UnreadableImage, match="moved more than 2 times"):
        fetch(downloads(site), f"{base}/3")


HEADS = {
    "an error": (page(status=404), "answered 404"),
    "nothing": (page(b"", status=204), "answered 204"),
    "a page": (page(Content_Type="text/html"), "not to a picture"),
    "SVG": (page(Content_Type="image/svg+xml"), "not to a picture"),
    "no media type": (page(Content_Type=""), "not to a picture"),
    "a packed picture": (page(Content_Encoding="gzip"), "compressed"),
    "less than was promised": (page(Content_Length="5000"), "could not be fetched"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_what_is_no_whole_picture_is_refused_with_a_sentence(site: Site, kind: str) -> None:
    site.pages["/a.png"], sentence = HEADS[kind]
    with pytest.raises(UnreadableImage, match=sentence):
        fetch(downloads(site), f"http://images.test:{site.port}/a.png")


def test_a_picture_of_too_many_bytes_is_not_read_to_its_end(site: Site) -> None:
    def endless(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(200)
        asked.send_header("Content-Type", "image/png")
        asked.end_headers()
        with suppress(OSError):
            while True:
                asked.wfile.write(bytes(1000))

    site.pages["/a.png"] = endless
    with pytest.raises(TooLarge, match="at most 10000 bytes"):
        fetch(downloads(site), f"http://images.test:{site.port}/a.png")


def test_the_pictures_of_a_request_have_a_bound_together(site: Site) -> None:
    site.pages["/a.png"] = page(bytes(MOST_BYTES))
    urls = [ImageUrl(url=f"http://images.test:{site.port}/a.png")] * 5
    with pytest.raises(TooLarge, match=r"^images\[4\]"):
        downloads(site).fetched(urls, [f"images[{place}]" for place in range(5)])


def drip(asked: BaseHTTPRequestHandler, head: bytes) -> None:
    """Send a byte now and then, without end."""
    asked.wfile.write(head)
    with suppress(OSError):
        while True:
            asked.wfile.write(b"a")
            time.sleep(0.02)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n"], ids=["head", "body"]
)
def test_a_host_that_sends_slowly_is_left(site: Site, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(download, "SECONDS", 0.3)
    site.pages["/a.png"] = lambda asked: drip(asked, head)
    with pytest.raises(UnreadableImage, match=r"longer than 0\.3 s"):
        fetch(downloads(site), f"http://images.test:{site.port}/a.png")


def test_a_resolver_that_does_not_answer_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SECONDS", 0.2)
    asked = threading.Event()
    one = Downloads(
        AllowList.of(["images.test"], []), max_bytes=MOST_BYTES, resolve=lambda host, port: [str(asked.wait(20))]
    )
    with pytest.raises(UnreadableImage, match="was not found"):
        fetch(one, "https://images.test/a.png")
    asked.set()


def late(made: Downloads, url: str) -> None:
    """Fetch for a request whose own time is far shorter than pictures have; it passes."""
    with pytest.raises(DeadlineExceeded, match="time, 200 ms, passed before its pictures were fetched"):
        made.fetched([ImageUrl(url=url)], ["image"], Deadline(time.monotonic(), 200))


def test_a_request_whose_time_passes_while_a_host_sends_slowly_is_late(site: Site) -> None:
    site.pages["/a.png"] = lambda asked: drip(asked, b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
    late(downloads(site), f"http://images.test:{site.port}/a.png")


def test_a_request_whose_time_passes_while_a_name_is_looked_up_is_late() -> None:
    asked = threading.Event()
    late(
        Downloads(
            AllowList.of(["images.test"], []), max_bytes=MOST_BYTES, resolve=lambda host, port: [str(asked.wait(20))]
        ),
        "https://images.test/a.png",
    )
    asked.set()


def test_pictures_have_no_more_time_where_the_request_has_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SECONDS", 0.2)
    site.pages["/a.png"] = lambda asked: drip(asked, b"HTTP/1.1 200 OK\r\nX: ")
    one, url = downloads(site), ImageUrl(url=f"http://images.test:{site.port}/a.png")
    with pytest.raises(UnreadableImage, match=r"longer than 0\.2 s"):
        one.fetched([url], ["image"], Deadline(time.monotonic(), 60_000))


def test_the_hosts_name_is_told_in_the_encrypted_greeting() -> None:
    greetings: list[bytes] = []
    with socket.create_server((HERE, 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                greetings.append(connection.recv(4096))

        thread = threading.Thread(target=greet)
        thread.start()
        port = listener.getsockname()[1]
        allowed = AllowList.of([f"images.test:{port}"], [f"{HERE}/32"])
        with pytest.raises(UnreadableImage):
            fetch(Downloads(allowed, max_bytes=9, resolve=lambda *_: [HERE]), f"https://images.test:{port}/")
        thread.join()
    assert b"images.test" in greetings[0]
    assert b"GET" not in greetings[0]


@pytest.mark.edge
@pytest.mark.parametrize(("host", "is_right"), [("images.test", True), ("more.test", False)])
def test_a_certificate_of_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, is_right: bool
) -> None:
    certificate, key = certify("images.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    site = Site(HERE)
    site.pages["/a.png"] = page()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    site.server.socket = tls.wrap_socket(site.server.socket, server_side=True)
    one = Downloads(
        AllowList.of([f"{host}:{site.port}"], [f"{HERE}/32"]), max_bytes=MOST_BYTES, resolve=lambda *_: [HERE]
    )
    with site.up():
        if is_right:
            assert fetch(one, f"https://{host}:{site.port}/a.png") == PICTURE
            return
        with pytest.raises(UnreadableImage, match="Hostname mismatch"):
            fetch(one, f"https://{host}:{site.port}/a.png")
    assert site.asked == []


def certify(host: str, folder: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    assert openssl, "openssl is missing; ops/install_edge.sh installs it"
    certificate, key = folder / "cert.pem", folder / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    name = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
    command = [openssl, "req", "-x509", *curve, *name, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize(
    "entry",
    ["127.0.0.1", "http://[::1]", "images.test.", "images.test/a", "u@images.test", "*.test", "a.test:99999", "", 5],
)
def test_a_listed_host_that_is_none_is_refused_at_start(entry: object) -> None:
    with pytest.raises(ConfigInvalid, match="image_hosts"):
        AllowList.of([entry], [])


def test_settings_that_are_no_lists_of_hosts_and_networks_are_refused_at_start() -> None:
    with pytest.raises(ConfigInvalid, match="give a list of texts"):
        AllowList.of("images.test", [])
    with pytest.raises(ConfigInvalid, match="image_networks"):
        AllowList.of([], ["10.0.0.1/8"])


def test_a_url_is_read_into_its_parts() -> None:
    location = read_url("https://Images.Test:8443/A%20b.png?size=3", at="image")
    assert (location.origin.host, location.origin.port) == ("images.test", 8443)
    assert str(location) == "https://images.test:8443/A%20b.png?size=3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle")).path


def ask(service: Service, image: object, **headers: str) -> tuple[int, dict]:
    fields = {"task": "vqa-v2", "question": "What is it?", "image": image}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    [reply] = service.answer_calls([Call(fields, "application/json", headers=named)])
    return reply.status, json.loads(reply.body)


def test_a_server_fetches_nothing_unless_hosts_are_listed_and_says_how(
    bundle: Path, site: Site, connects: list
) -> None:
    service = Service.open(bundle, Settings(engine="eager"))
    status, answer = ask(service, {"url": f"http://localhost:{site.port}/a.png"})
    assert (status, answer["error"]["code"], answer["error"]["at"]) == (422, "invalid-field", "image")
    assert "IMAGE_HOSTS" in answer["error"]["message"]
    assert connects == []


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Keep what Python itself tells of look-ups and connections, whoever asks for them. A hook cannot be taken off."""
    seen: list[str] = []
    listening = threading.Event()
    listening.set()
    sys.addaudithook(lambda event, _: seen.append(event) if event in NETWORK and listening.is_set() else None)
    yield seen
    listening.clear()


@pytest.mark.parametrize("trick", TRICKS)
def test_where_no_hosts_are_listed_nothing_is_looked_up_or_connected_to(told: list[str], trick: str) -> None:
    off = Downloads(AllowList.of([], ["0.0.0.0/0"]), max_bytes=MOST_BYTES)
    with pytest.raises(InvalidField, match="this server fetches no pictures"):
        off.fetched([ImageUrl(url=TRICKS[trick].format(port=80))], ["image"])
    assert told == []


def test_look_ups_and_connections_are_told(told: list[str], site: Site) -> None:
    one = Downloads(AllowList.of([f"http://localhost:{site.port}"], ["127.0.0.0/8", "::1/128"]), max_bytes=MOST_BYTES)
    assert fetch(one, f"http://localhost:{site.port}/a.png") == PICTURE
    assert set(told) == {"socket.getaddrinfo", "socket.connect"}


def test_a_served_picture_by_url_answers_as_the_picture_itself(bundle: Path, site: Site) -> None:
    hosts, networks = [f"http://localhost:{site.port}"], ["127.0.0.0/8", "::1/128"]
    service = Service.open(bundle, Settings(engine="eager", image_hosts=hosts, image_networks=networks))
    status, named = ask(service, {"url": f"http://localhost:{site.port}/a.png"})
    sent = ask(service, base64.b64encode(PICTURE).decode())[1]
    assert status == 200, named
    assert (named["candidates"], named["images"]) == (sent["candidates"], sent["images"])


@pytest.mark.parametrize("image", [{"url": 5}, {"url": None}, {"url": "http://a.test/", "ref": "x"}, {"url": []}])
def test_a_url_that_is_no_text_is_an_invalid_field(bundle: Path, image: object) -> None:
    status, answer = ask(Service.open(bundle, Settings(engine="eager")), image)
    assert (status, answer["error"]["code"]) == (422, "invalid-field")


def test_a_served_request_by_url_keeps_its_own_deadline(bundle: Path, site: Site) -> None:
    hosts, networks = [f"http://localhost:{site.port}"], ["127.0.0.0/8", "::1/128"]
    service = Service.open(bundle, Settings(engine="eager", image_hosts=hosts, image_networks=networks))
    site.pages["/a.png"] = lambda asked: drip(asked, b"HTTP/1.1 200 OK\r\nX: ")
    status, answer = ask(service, {"url": f"http://localhost:{site.port}/a.png"}, x_request_timeout_ms="300")
    assert (status, answer["error"]["code"]) == (504, "deadline")
