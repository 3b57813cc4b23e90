"""The files of hashes say the same versions as the file of versions, and pip reads them."""

import re

from ops.hashes import CONSTRAINTS, HASHES, TORCH, pins, plain, written
from tests.checkout import ROOT

ENTRY = re.compile(r"([A-Za-z0-9._-]+)==(\S+) \\\n    --hash=sha256:([0-9a-f]{64})\n")


def versions(lines: list[str]) -> dict[str, str]:
    return {plain(name): version for name, version in (line.split("==") for line in lines)}


def test_every_pinned_version_has_a_hash_and_torch_has_none() -> None:
    text = HASHES.read_text(encoding="utf-8")
    found = {plain(name): version for name, version, _ in ENTRY.findall(text)}
    torch = versions(pins(TORCH.read_text(encoding="utf-8")))
    assert found | torch == versions(pins(CONSTRAINTS.read_text(encoding="utf-8")))
    assert list(torch) == ["torch"]
    assert "torch" not in found


def test_the_file_of_hashes_holds_nothing_else() -> None:
    remarks = re.sub(ENTRY, "", HASHES.read_text(encoding="utf-8")).splitlines()
    assert [line for line in remarks if not line.startswith("#")] == []


def test_hashes_are_written_as_they_are_read() -> None:
    digest = "0" * 64
    assert ENTRY.findall(written({"a-b==1.0": digest, "C==2": digest})) == [("a-b", "1.0", digest), ("C", "2", digest)]


def test_the_page_on_security_says_that_what_installs_by_itself_compares_no_hashes() -> None:
    ways = [(ROOT / name).read_text(encoding="utf-8") for name in ("Dockerfile", "ops/setup.sh")]
    by_hash = any("--require-hashes" in way for way in ways)
    says_not = "Packages are installed by version, not by hash." in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert says_not is not by_hash
