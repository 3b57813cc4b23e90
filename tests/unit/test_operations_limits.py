"""The table of limits in docs/operations.md, compared with the code: values, places and errors."""

import re
from typing import Any

import pytest

from export import archive
from handlers import edge_nginx
from handlers.edge_nginx import Limits
from tests.checkout import ROOT
from twelve import chunks, download, origins, scans, schema, wire
from twelve.image import FORMATS, ImageLimits
from twelve.limits import RequestLimits
from twelve.openapi import PROXY_STATUSES
from twelve.refusals import KINDS
from twelve.tasks.kinds import retrieving


def setting(file: str, pattern: str) -> str:
    """Give what a file that is no Python says."""
    (found,) = re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def table() -> dict[str, tuple[str, str, str]]:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.split("\n## Limits\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return {name.strip(): (value.strip(), place.strip(), error.strip()) for name, value, place, error in rows[1:]}


TABLE = table()
HEADERS, HEADER_KB = setting("ops/nginx/nginx.conf", r"large_client_header_buffers (\d+ \d+)k;").split()

VALUES: dict[str, Any] = {
    "requests a second of one key": Limits.rate,
    "requests of one key at once, beyond that": Limits.burst,
    "requests of one key on their way": Limits.per_client,
    "requests of one address on their way": Limits.per_address,
    "requests that one server holds, those that wait included": Limits.in_flight,
    "TorchServe's own queue of a server": archive.QUEUE,
    "seconds until a deadline, where none is named": edge_nginx.DEFAULT_S,
    "seconds until a deadline, at most": edge_nginx.WAITS_S[-1],
    "tries of a request": edge_nginx.TRIES,
    "seconds between two parts of a request's head or body": setting(
        "ops/nginx/nginx.conf", r"client_body_timeout (\d+)s;"
    ),
    "KB of a header line or of the address": HEADER_KB,
    "KB of all headers": int(HEADERS) * int(HEADER_KB),
    "bytes of a body": setting("config.properties", r"^max_request_size=(\d+)$"),
    "bodies without `Content-Length` (in chunks)": 0,
    "media types: JSON, a form": len((wire.JSON, wire.FORM)),
    "fields of a body": wire.MOST_FIELDS,
    "characters `[`, `{` and `,` in a body's JSON": wire.MOST_MARKS,
    "bytes of a picture's file": ImageLimits.max_bytes,
    "pixels of a picture, and of a request's pictures in all": ImageLimits.max_pixels,
    "pixels of a picture's longer side": ImageLimits.max_side,
    "scans of a JPEG": ImageLimits.max_scans,
    "markers of a JPEG": scans.MOST_MARKERS,
    "bytes before a JPEG's first scan that belong to no segment": scans.MOST_FILLING,
    "chunks of a PNG": chunks.MOST_CHUNKS,
    "blocks of a GIF before its picture": chunks.MOST_BLOCKS,
    "formats of pictures: JPEG, PNG, WebP, GIF, BMP, TIFF": len(FORMATS),
    "pictures of a request": retrieving.MOST,
    "characters of a picture's URL, where URLs are allowed": origins.MOST_CHARACTERS,
    "seconds for all of a request's pictures by URL": download.SECONDS,
    "characters of a text; of a dialogue in all": RequestLimits.max_characters,
    "turns of a dialogue": schema.MOST_TURNS,
    "boxes": RequestLimits.max_boxes,
    "bytes of an answer": archive.MOST_BYTES,
    "seconds of a worker over one batch": archive.RESPONSE_TIMEOUT_S,
}
PAIRS = {(str(kind.status), code) for code, kind in KINDS.items()} | {
    (str(status), kind.code) for status, kind in PROXY_STATUSES.items()
}


def test_the_table_has_these_limits_and_no_others():
    assert list(TABLE) == list(VALUES)


@pytest.mark.parametrize("limit", VALUES)
def test_a_limit_is_what_the_table_says(limit):
    assert TABLE[limit][0] == f"{int(VALUES[limit]):,}"


@pytest.mark.parametrize("limit", TABLE)
def test_a_limit_is_set_where_the_table_says(limit):
    place = TABLE[limit][1].strip("`")
    options = re.findall(r'envvar="(\w+)"', (ROOT / "handlers/edge.py").read_text(encoding="utf-8"))
    assert place in options or (ROOT / place).is_file()


@pytest.mark.parametrize("limit", TABLE)
def test_a_limits_error_is_one_of_the_contract(limit):
    assert set(re.findall(r"(\d{3}) `([a-z-]+)`", TABLE[limit][2])) <= PAIRS


def test_nearly_every_limit_names_its_error():
    assert sum(bool(re.search(r"\d{3} `", error)) for _, _, error in TABLE.values()) >= len(TABLE) - 3
