"""The model card: what a bundle says of itself, for people and for model hubs, as the README.md of its folder.

What the bundle's own files do not say is named as unsaid: a card claims nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from safetensors import safe_open

from twelve.bundle import CONFIG_FILE, DETECTOR_CONFIG, WEIGHTS_FILE, Bundle, json_object

CARD = "README.md"
THIS_FOLDER = "path/to/this/folder"
"""What a card calls the folder that it lies in: folders are moved and copied."""

HEADS = "heads."
"""What the names of the heads' tensors begin with."""

SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which every text gets."""

COLUMNS = {
    "model": "items that training never saw",
    "novel": "such items whose compositions training never showed",
    "blind": "the same items, answered by a twin that was trained without seeing a picture",
}
"""What `python -m training evaluate` measures, by column."""

WHAT = (
    "A bundle of 12-in-1 ([Lu et al., CVPR 2020](https://arxiv.org/abs/1912.02315)): one ViLBERT with a task token for "
    "each data set. This page is written from the bundle's own files; `manifest.json` holds the hash of each."
)

TRAINING = f"""These weights begin a training whose recipe names their folder, beside a `preset` of the same sizes:

```toml
[model]
start = "{THIS_FOLDER}"
```

`python -m training` reads the recipe."""

TAGS = ("12-in-1", "vilbert", "vision-and-language", "image-text-retrieval", "visual-grounding", "visual-entailment")

CITATION = """@inproceedings{lu2020twelve,
  title     = {12-in-1: Multi-Task Vision and Language Representation Learning},
  author    = {Lu, Jiasen and Goswami, Vedanuj and Rohrbach, Marcus and Parikh, Devi and Lee, Stefan},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2020},
  eprint    = {1912.02315}
}"""


def model_card(bundle: Bundle, *, where: str) -> str:
    """Write the card.

    Args:
        bundle: That it is about.
        where: What to load it by: a folder, or `owner/name` on a hub.

    Returns:
        Markdown, with what hubs read at its head.
    """
    manifest = bundle.manifest
    sections = (
        _head(manifest.notes),
        f"# {manifest.name} {manifest.version}",
        WHAT,
        _section("Use", _use(bundle, where)),
        _section("Tasks", _tasks(manifest.tasks, manifest.scores)),
        _section("What was measured", _measured(manifest.scores, manifest.notes)),
        _section("Limits", _listed(_limits(bundle))),
        _section("Where it comes from", _listed(_origin(bundle))),
        _section("Licence", _licence(manifest.notes)),
        _section("Citation", f"```bibtex\n{CITATION}\n```"),
    )
    return "\n\n".join(sections) + "\n"


def _head(notes: Mapping[str, Any]) -> str:
    """Write the metadata that hubs index; JSON is YAML."""
    licence = {"license": notes["licence"].lower()} if isinstance(notes.get("licence"), str) else {}
    values = {
        **licence,
        "library_name": "twelve-in-one",
        "language": "en",
        "pipeline_tag": "visual-question-answering",
        "tags": list(TAGS),
    }
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in values.items()), "---"])


def _use(bundle: Bundle, where: str) -> str:
    place, tasks = json.dumps(where), bundle.manifest.tasks
    asking = (["import twelve"], [f"client = twelve.load({place})  # client.ask(task, …)"]) if tasks else ([], [])
    lines = (
        *asking[0],
        "from twelve.heads.model import TwelveModel",
        "",
        *asking[1],
        f"module = TwelveModel.from_pretrained({place})  # trunk and heads in torch",
    )
    in_torch = "\n".join(["```python", *lines, "```"])
    uses = (*([] if tasks else [TRAINING]), *([in_torch] if _has_heads(bundle) else []))
    return "\n\n".join(uses)


def _has_heads(bundle: Bundle) -> bool:
    with safe_open(bundle.path / WEIGHTS_FILE, framework="np") as weights:
        return any(name.startswith(HEADS) for name in weights.keys())  # noqa: SIM118  # it is no mapping


def _tasks(tasks: Mapping[str, int], scores: Mapping[str, Any]) -> str:
    if not tasks:
        return "None: these weights are a starting point for training, and are not served."
    heads = ["task", "token", *(["items", "chance, %"] if scores else []), *(f"{column}, %" for column in scores)]
    rows = [[f"`{name}`", str(token), *_figures(name, scores)] for name, token in tasks.items()]
    ruler = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ruler, *rows))


def _figures(task: str, scores: Mapping[str, Any]) -> Iterator[str]:
    if not scores:
        return
    entries = [column.get(task, {}) for column in scores.values()]
    yield f"{entries[0]['items']:,}" if "items" in entries[0] else ""
    yield _per_cent(entries[0].get("chance"))
    yield from (_per_cent(entry.get("score")) for entry in entries)


def _per_cent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _measured(scores: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    if not scores:
        return "Nothing was measured of these weights."
    columns = [f"*{column}*: {COLUMNS.get(column, 'the manifest does not say on what')}" for column in scores]
    data = notes.get("measured_on", notes.get("trained_on", "data that the manifest does not name"))
    return f"{_listed(columns)}\n\nThe data: {data}. A score says nothing of other pictures or other questions."


def _limits(bundle: Bundle) -> Iterator[str]:
    config, files = json_object(bundle.path / CONFIG_FILE), bundle.manifest.files
    if "max_position_embeddings" in config:
        most = config["max_position_embeddings"] - SPECIAL_TOKENS
        yield f"English text of at most {most} word pieces; a longer one is refused, never cut."
    if DETECTOR_CONFIG in files:
        most = json_object(bundle.path / DETECTOR_CONFIG).get("max_regions", "few")
        yield f"It sees a picture as the {most} regions that its detector finds at most; what lies in none is not seen."
    else:
        yield f"It has no detector: bring regions along, {config.get('v_feature_size', 'so many')} numbers each."
    for head in ("vqa", "gqa"):
        if f"answers/{head}.json" in files:
            yield f"The `{head}` head chooses among {len(bundle.answers(head)):,} answers and knows no others."
    if bundle.manifest.tasks:
        yield "Tasks that the table above does not name are refused: it was not trained on them."


def _origin(bundle: Bundle) -> Iterator[str]:
    """List the notes that are sentences; the others are for programs."""
    told = {name: note for name, note in bundle.manifest.notes.items() if isinstance(note, str)}
    yield from (f"{name.replace('_', ' ')}: {note}" for name, note in told.items() if name != "licence")
    yield f"digest: `{bundle.digest()}`"


def _licence(notes: Mapping[str, Any]) -> str:
    if "licence" in notes:
        return f"{notes['licence']}, as the manifest states."
    return "The manifest states none for these weights; the code that runs them, `twelve-in-one`, is Apache-2.0."


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _listed(lines: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
