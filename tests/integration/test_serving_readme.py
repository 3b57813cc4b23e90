import base64

import pytest

from tests.checkout import ROOT
from tests.integration.conftest import DEFAULT_BUNDLE
from tests.integration.harness import LiveServer
from tests.markdown import Block, blocks, run

DOCUMENTED = "http://127.0.0.1:8080"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ASKING = [block for block in blocks(README) if block.with_server]

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("block", ASKING, ids=lambda block: f"line-{block.line}")
def test_what_the_readme_asks_a_server_is_answered(server: LiveServer, block: Block) -> None:
    done = run(block, replacing={DOCUMENTED: server.url.split("/predictions")[0]})
    assert done.returncode == 0, done.stderr
    assert '"answer"' in done.stdout, done.stdout


def test_the_default_model_sees_what_the_readme_says(server: LiveServer) -> None:
    if not (DEFAULT_BUNDLE / "manifest.json").is_file():
        pytest.skip("there is no default bundle yet")
    picture = base64.b64encode((ROOT / "docs/pictures/street.jpg").read_bytes()).decode()
    status, answer = server.ask_json({"task": "vqa-v2", "question": "Is there a pig?", "image": picture})
    assert (status, answer["answer"]) == (200, "yes")
