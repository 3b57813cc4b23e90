"""Visual Genome QA at its real size: memory and time to read 1.4 million questions.

    python -m benchmarks.read_vg

Writes a file with the rows, the row length and the order of the published one into a temporary folder, then reads it
in processes of their own: row by row as `data check` does, held in a list as training does, and parsed whole for
comparison. Writes `benchmarks/read_vg.json`. The words are made up; nothing is said of the real data but its size.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.stopwatch import Took, timed
from training.data.readers import read

PICTURES = 108_077
QUESTIONS = 1_445_322
"""As the published file has them: 1.4 million questions about 108 thousand pictures."""

FILE = "vg/question_answers.json"
RESULT = Path(__file__).with_suffix(".json")
ALLOWED_BYTES = 1_500_000_000
SEED = 7
WORDS = (
    *("what", "color", "is", "the", "man", "wearing", "on", "his", "head", "where"),
    *("are", "cars", "parked", "who", "holds", "blue", "umbrella", "near", "street"),
)

app = typer.Typer(no_args_is_help=False, invoke_without_command=True)
console = Console(stderr=True)


@app.callback()
def measure(context: typer.Context, out: Annotated[Path, typer.Option(help="The result.")] = RESULT) -> None:
    """Write the file, read it in every way, and write down what that took."""
    if context.invoked_subcommand:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / FILE)
        size = (root / FILE).stat().st_size
        console.print(f"{QUESTIONS:,} questions in {size:,} bytes")
        took = {way: timed(["benchmarks.read_vg", "load", folder, way], root / "took.json") for way in WAYS}
    out.write_text(json.dumps(_summary(size, took), indent=2) + "\n", encoding="utf-8")
    console.print(out.read_text(encoding="utf-8"))


@app.command()
def load(root: Path, way: str) -> None:
    """Read the file in one way."""
    count = WAYS[way](root)
    if count not in (QUESTIONS, PICTURES):
        raise typer.BadParameter(f"read {count:,} rows of {QUESTIONS:,}")


def write(path: Path) -> None:
    """Write a file of the published size."""
    path.parent.mkdir(parents=True)
    rng = random.Random(SEED)
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for place, picture in enumerate(_pictures(rng)):
            file.write(", " * bool(place) + json.dumps(picture))
        file.write("]")


def _pictures(rng: random.Random) -> Iterator[Mapping[str, object]]:
    """Yield pictures with as many questions each as there are on average, the last ones with the rest."""
    question_ids = list(range(900_000, 900_000 + QUESTIONS))
    rng.shuffle(question_ids)
    for image_id in range(1, PICTURES + 1):
        here = question_ids[(image_id - 1) * QUESTIONS // PICTURES : image_id * QUESTIONS // PICTURES]
        yield {"id": image_id, "qas": [_question(image_id, qa_id, rng) for qa_id in here]}


def _question(image_id: int, qa_id: int, rng: random.Random) -> Mapping[str, object]:
    words = rng.choices(WORDS, k=rng.randint(4, 8))
    return {
        "a_objects": [],
        "question": f"{' '.join(words).capitalize()}?",
        "image_id": image_id,
        "qa_id": qa_id,
        "answer": f"{' '.join(rng.choices(WORDS, k=rng.randint(1, 3))).capitalize()}.",
        "q_objects": [],
    }


def _streamed(root: Path) -> int:
    return sum(_length(read("vg-qa", root, split)) for split in ("train", "val"))


def _held(root: Path) -> int:
    return len([record for split in ("train", "val") for record in read("vg-qa", root, split)])


def _parsed_whole(root: Path) -> int:
    parsed: Sized = json.loads((root / FILE).read_text(encoding="utf-8"))
    return len(parsed)


def _length(rows: Iterable[object]) -> int:
    return sum(1 for _ in rows)


def _summary(size: int, took: Mapping[str, Took]) -> Mapping[str, object]:
    whole = took["parsed whole"]
    return {
        "questions": QUESTIONS,
        "pictures": PICTURES,
        "file_bytes": size,
        "allowed_peak_bytes": ALLOWED_BYTES,
        "ways": {way: asdict(one) for way, one in took.items()},
        "peak_of_streamed_to_parsed_whole": round(took["streamed"].peak_bytes / whole.peak_bytes, 3),
        "peak_of_held_to_parsed_whole": round(took["held"].peak_bytes / whole.peak_bytes, 3),
    }


WAYS: Mapping[str, Callable[[Path], int]] = {"streamed": _streamed, "held": _held, "parsed whole": _parsed_whole}

if __name__ == "__main__":
    app()
