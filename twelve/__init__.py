"""Twelve vision-and-language tasks, one model: the library under the server, the trainer and the exporter."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:  # torch is imported by who loads a model, not by who imports the library
    from twelve.client import Client
    from twelve.hub import Access

__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Before onnxruntime is imported. Left alone it keeps an identifier of the machine in ~/.cache/Microsoft, and a queue
of events that it sends to its maker: how often and on what models run, by whom. 0 lets it."""


def load(
    path_or_hub_id: str | Path,
    *,
    engine: str = "eager",
    graphs: str | Path | None = None,
    threads: int | None = None,
    **access: "Unpack[Access]",
) -> "Client":
    """Open a bundle in this process, ready to be asked.

        with twelve.load("model_store/small") as model:
            answer = model.ask("vqa-v2", image="street.jpg", question="Is there a pig?")

    Args:
        path_or_hub_id: A bundle's folder, or `owner/name` on a model hub.
        engine: "eager", or "onnxruntime" or "torchscript" where the bundle was exported.
        graphs: Folder of the exported graphs; None for `build/` and the name of the bundle's folder.
        threads: Most threads of one run; None for all cores.
        **access: How to ask the hub: `revision`, `token`, `cache_dir`, `force_download`, `local_files_only`.

    Returns:
        The client that would ask a server, only that nothing leaves this process.

    Raises:
        StartupError: There is no such bundle, or it is not fit to be served; says what would do.
        TypeError: There is no such argument.
    """
    from twelve.local import load as load_here

    return load_here(path_or_hub_id, engine=engine, graphs=graphs, threads=threads, **access)
