"""What is committed works on any machine: no path of the one it was written on, no package registry by its host."""

import re

from tests.checkout import ROOT, kept_files, text_of

# Written so that this file does not match itself.
LEAK = re.compile(r"/(work|root|Users)/|/home/[a-z]|pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org")
LARGEST_BYTES = 2 * 1024 * 1024
MAY_BE_LARGE = ("model_store/small/",)


def test_no_path_of_a_machine_and_no_registry_stands_in_a_file():
    texts = {path: text_of(path) for path in kept_files() if path.suffix != ".svg"}
    leaks = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts.items()
        for number, line in enumerate((text or "").splitlines(), start=1)
        if LEAK.search(line)
    ]
    assert leaks == []


def test_only_the_default_bundle_has_large_files():
    large = [str(path) for path in kept_files() if (ROOT / path).stat().st_size > LARGEST_BYTES]
    assert [path for path in large if not path.startswith(MAY_BE_LARGE)] == []


def test_a_leak_is_seen():
    assert LEAK.search("open('/" + "home/someone/x')")
    assert LEAK.search("https://pypi." + "org/simple")
    assert not LEAK.search("/app/model_store, tests/home/, network/")
