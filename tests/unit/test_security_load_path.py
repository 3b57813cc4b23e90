"""The scanner of the load path: it finds each way in which a file could run code, and none in what a server imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev.load_path import findings, served, uses
from tests.checkout import ROOT

UNSAFE = {
    "import pickle": "pickle",
    "from pickle import loads": "pickle.loads",
    "import cloudpickle as c\nc.loads(b'')": "cloudpickle",
    "def f():\n    from joblib import load": "joblib.load",
    "import dill": "dill",
    "import marshal": "marshal",
    "import shelve": "shelve",
    "import torch\ntorch.load('x')": "torch.load",
    "import torch as t\nread = t.load": "torch.load",
    "from torch import load": "torch.load",
    "from torch import load as read\nread('x')": "torch.load",
    "import torch\ntorch.hub.load('a', 'b')": "torch.hub.load",
    "import numpy as np\nnp.load('x', allow_pickle=True)": "allow_pickle=True",
    "import numpy as np\nnp.load('x', allow_pickle=flag)": "allow_pickle=flag",
    "load(x, weights_only=False)": "weights_only=False",
    "AutoModel.from_pretrained(x, trust_remote_code=True)": "trust_remote_code=True",
    "import yaml\nyaml.load(x, Loader=yaml.Loader)": "yaml.load",
    "from yaml import unsafe_load": "yaml.unsafe_load",
    "import pandas as pd\npd.read_pickle('x')": "pandas.read_pickle",
    "eval('1')": "eval",
    "run = exec": "exec",
    "__import__('os')": "__import__",
    "import runpy\nrunpy.run_path('x')": "runpy.run_path",
}
SAFE = (
    "import json\njson.loads('')",
    "module.eval()",
    "import torch\ntorch.jit.load('x')",
    "from safetensors.torch import load\nload(b'')",
    "import numpy as np\nnp.load('x', allow_pickle=False)",
    "import yaml\nyaml.safe_load('')",
    "import re\nre.compile('x')",
)


@pytest.mark.parametrize("text", UNSAFE)
def test_a_planted_use_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "twelve").mkdir()
    (tmp_path / "twelve" / "planted.py").write_text("x = 1\n" + text)
    assert UNSAFE[text] in {one.what for one in findings(tmp_path)}


@pytest.mark.parametrize("text", SAFE)
def test_what_runs_no_code_is_let_pass(text: str) -> None:
    assert list(uses(text)) == []


def test_nothing_that_a_server_imports_could_run_code_out_of_a_file() -> None:
    assert findings() == []


def test_all_that_a_server_imports_of_ours_is_read() -> None:
    told = "import sys, handlers.twelve_handler, handlers.serve, handlers.edge; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", told], cwd=ROOT, check=True, capture_output=True, text=True)
    ours = {name for name in run.stdout.split() if name.startswith(("twelve.", "handlers.", "export.", "training."))}
    read = {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in served(ROOT)}
    assert "twelve.service" in ours
    assert ours <= read
