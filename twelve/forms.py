"""Forms as browsers and curl send them (multipart/form-data, RFC 7578): bytes in, fields by name out.

Strict: what a lenient reader guesses at, another guesses otherwise, and strangers live off the difference.
"""

import re

from twelve.errors import InvalidField, Malformed

LINE = b"\r\n"
BLANK_LINE = LINE + LINE
DISPOSITION = re.compile(rb"\r\ncontent-disposition:[ \t]*form-data[ \t]*(;[^\r\n]*)?(?=\r\n|\Z)", re.IGNORECASE)
PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
"""RFC 9110, section 5.6.6. A quoted value is taken whole, so that no name is found inside a file's name."""

ESCAPED = re.compile(rb"\\(.)")
NEXT, LAST = re.compile(rb"[ \t]*(?=\r\n)"), b"--"
"""What stands behind a boundary: a part, or nothing that counts."""


def read_form(content_type: str, body: bytes, *, most_parts: int) -> dict[str, bytes]:
    """Read a form.

    Args:
        content_type: As sent, with the boundary.
        body: The whole body.
        most_parts: That are read.

    Returns:
        Contents by name; of equal names the last, as TorchServe has it.

    Raises:
        Malformed: It is none, or is not whole.
        InvalidField: It has more parts.
    """
    boundary = _parameters(content_type.encode("latin-1", "replace")).get(b"boundary")
    if not boundary:
        raise _unreadable("the content type names no boundary")
    return dict(_part(piece) for piece in _pieces(LINE + body, LINE + LAST + boundary, most_parts))


def _pieces(body: bytes, delimiter: bytes, most: int) -> list[bytes]:
    """Give what stands between boundaries, up to the last one."""
    pieces = body.split(delimiter, most + 2)[1:]
    for place, piece in enumerate(pieces):
        if piece.startswith(LAST):
            return pieces[:place]
        if place == most:
            raise InvalidField(f"body: has more than {most} parts, no task takes so many", at="body")
    raise _unreadable("its last boundary is missing")


def _part(piece: bytes) -> tuple[str, bytes]:
    begins = NEXT.match(piece)
    head, blank, content = piece[begins.end() :].partition(BLANK_LINE) if begins else (b"", b"", b"")
    described = DISPOSITION.search(head)
    if not blank or described is None:
        raise _unreadable("a part does not say Content-Disposition: form-data")
    name = _parameters(described[1] or b"").get(b"name")
    if not name:
        raise _unreadable("a part has no name")
    try:
        return name.decode("utf-8"), content
    except UnicodeDecodeError as error:
        raise _unreadable("a part's name is not UTF-8") from error


def _parameters(line: bytes) -> dict[bytes, bytes]:
    """Give a header's parameters by their names in lower case; of equal names the first."""
    found: dict[bytes, bytes] = {}
    for name, quoted, token in PARAMETER.findall(line):
        found.setdefault(name.lower(), token or ESCAPED.sub(rb"\1", quoted))
    return found


def _unreadable(why: str) -> Malformed:
    return Malformed(f"body: is no readable form ({why}); send each field as a part with a name")
