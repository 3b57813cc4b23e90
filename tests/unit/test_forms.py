"""Forms, read strictly: what browsers and curl send is read, and nothing is guessed."""

import httpx
import pytest

from twelve.errors import InvalidField, Malformed
from twelve.forms import read_form

KIND = "multipart/form-data; boundary=b"
MOST = 4
BINARY = bytes(range(256)) + b"\r\n\r\n--\r\n--a\r\n"
NAMED = b'Content-Disposition: form-data; name="a"'


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def read(body: bytes, kind: str = KIND) -> dict[str, bytes]:
    return read_form(kind, body, most_parts=MOST)


def test_what_a_client_sends_is_read() -> None:
    files = {"image": ("p.png", BINARY, "image/png"), "é": ("; name=no", b"2"), 'q"': ("a\\b", b"3")}
    sent = httpx.Request("POST", "http://a.test", data={"question": "Où?"}, files=files)
    found = read(sent.read(), sent.headers["content-type"])
    assert found == {"question": "Où?".encode(), "image": BINARY, "é": b"2", "q%22": b"3"}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"content-disposition:form-data;NAME=a", "a"),
        (b'Content-Type: text/plain\r\nContent-Disposition: form-data; filename="; name=no"; name="a"', "a"),
        (b'Content-Disposition: form-data; filename="\\"; name=no; x=\\""; name="a"', "a"),
        (b'Content-Disposition: form-data; name="a"; name="no"', "a"),
        (b'Content-Disposition: form-data; name="a\\"b"', 'a"b'),
    ],
)
def test_a_parts_name_is_found(head: bytes, name: str) -> None:
    assert read(form(head + b"\r\n\r\n1")) == {name: b"1"}


@pytest.mark.parametrize("kind", ['multipart/form-data;boundary="b"', "Multipart/Form-Data; x=1; BOUNDARY=b"])
def test_a_boundary_is_found(kind: str) -> None:
    assert read(form(NAMED + b"\r\n\r\n1"), kind) == {"a": b"1"}


def test_what_stands_before_the_first_boundary_and_behind_the_last_does_not_count() -> None:
    assert read(b"hello\r\n" + form(NAMED + b"\r\n\r\n1") + b"--b\r\nmore") == {"a": b"1"}


def test_of_equal_names_the_last_counts_and_no_parts_are_no_fields() -> None:
    assert read(form(NAMED + b"\r\n\r\n1", NAMED + b"\r\n\r\n2")) == {"a": b"2"}
    assert read(form()) == {}


BROKEN = {
    "no boundary in the type": (form(), "multipart/form-data"),
    "an empty boundary": (form(), 'multipart/form-data; boundary=""'),
    "another boundary": (form(), "multipart/form-data; boundary=c"),
    "nothing": (b"", KIND),
    "no end": (form(NAMED + b"\r\n\r\n1")[:-6], KIND),
    "half an end": (form(NAMED + b"\r\n\r\n1")[:-3], KIND),
    "a part without a name": (form(b"Content-Disposition: form-data\r\n\r\n1"), KIND),
    "a part of an empty name": (form(b'Content-Disposition: form-data; name=""\r\n\r\n1'), KIND),
    "a name that is never closed": (form(b'Content-Disposition: form-data; name="a\r\n\r\n1'), KIND),
    "a name that is no UTF-8": (form(b'Content-Disposition: form-data; name="\xff"\r\n\r\n1'), KIND),
    "a part of another kind": (form(b'Content-Disposition: file; name="a"\r\n\r\n1'), KIND),
    "a part without a head": (form(b"\r\n1"), KIND),
    "a part without a blank line": (form(NAMED), KIND),
    "single line feeds": (form(NAMED + b"\r\n\r\n1").replace(b"\r\n", b"\n"), KIND),
    "a boundary that goes on": (form(NAMED + b"\r\n\r\n1\r\n--bc\r\n2"), KIND),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_whole_form_is_malformed(kind: str) -> None:
    body, content_type = BROKEN[kind]
    with pytest.raises(Malformed, match=r"^body: is no readable form \("):
        read(body, content_type)


def test_as_many_parts_as_allowed_are_read_and_one_more_is_not() -> None:
    parts = [b'Content-Disposition: form-data; name="%d"\r\n\r\n1' % number for number in range(MOST + 1)]
    assert len(read(form(*parts[:MOST]))) == MOST
    with pytest.raises(InvalidField, match="more than 4 parts"):
        read(form(*parts))


def test_a_form_of_boundaries_alone_costs_no_more_than_its_first_parts() -> None:
    with pytest.raises(InvalidField):
        read(b"\r\n--b" * 5_000_000)


@pytest.mark.parametrize("endless", [b'\\";', b';a="', b';a=\\"', b";a=", b'"', b"\\"], ids=bytes.hex)
def test_a_head_of_quotes_and_escapes_without_end_is_read_once(endless: bytes) -> None:
    """It would take hours otherwise."""
    with pytest.raises(Malformed):
        read(form(b"Content-Disposition: form-data; nom=" + endless * 1_000_000 + b"\r\n\r\n1"))
