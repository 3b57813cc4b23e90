"""What the documents say of the repository is so: their links lead somewhere."""

from pathlib import Path

import pytest

from tests.checkout import ROOT, kept_files
from tests.markdown import anchors, links

PAGES = kept_files("*.md")


def _is_broken(page: Path, target: str) -> bool:
    if "://" in target or target.startswith("mailto:"):
        return False
    name, _, anchor = target.partition("#")
    there = ROOT / page.parent / name if name else ROOT / page
    if not there.exists():
        return True
    return bool(anchor) and there.suffix == ".md" and anchor not in anchors(there.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_somewhere(page: Path):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [target for target in links(text) if _is_broken(page, target)] == []


def test_a_link_to_a_missing_page_or_heading_is_broken():
    assert _is_broken(Path("README.md"), "docs/nowhere.md")
    assert _is_broken(Path("README.md"), "#no-such-heading")
    assert not _is_broken(Path("README.md"), "LICENSE")
