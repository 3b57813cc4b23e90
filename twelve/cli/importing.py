"""`twelve import-checkpoint` and `twelve import-bert`: bundles out of what others published."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.convert.packing import Imported, Packing
    from twelve.model.config import ModelConfig


class Dtype(StrEnum):
    """What weights may be stored as."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


FATES: Mapping[str, str] = {
    "trunk": "used by every task",
    "head": "used by the tasks of one head",
    "pretraining": "kept apart, used by pre-training alone",
    "tied": "a copy of the word table",
    "dead": "in no computation of the published code",
}

OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder, which is made.")]
NameOption = Annotated[str | None, typer.Option("--name", help="What the model is called; OUT's name if absent.")]
DtypeOption = Annotated[Dtype, typer.Option("--dtype", help="What the weights are stored as.")]
VocabularyOption = Annotated[
    Path | None, typer.Option("--vocabulary", metavar="TXT", help="Word pieces; bert-base-uncased's if absent.")
]


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The file that torch wrote.")],
    out: OutArgument,
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help="Answers of the VQA head: JSON, or as published.")
    ] = None,
    gqa_answers: Annotated[
        Path | None, typer.Option("--gqa-answers", metavar="FILE", help="Answers of the GQA head, likewise.")
    ] = None,
    dtype: DtypeOption = Dtype.FLOAT32,
    vocabulary: VocabularyOption = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="JSON", help="The model's configuration; the published one if absent."),
    ] = None,
    name: NameOption = None,
    keep_dead: Annotated[
        bool, typer.Option("--keep-dead", help="Keep what nothing computes with, too, to put the file together again.")
    ] = False,
) -> None:
    """Make a bundle of the authors' multi_task_model.bin; without answers, one to train from of pretrained_model.bin.

    twelve import-checkpoint multi_task_model.bin --answers vqa.json --gqa-answers gqa.json model_store/published
    """
    from twelve.cli.progress import bytes_bar
    from twelve.convert.importing import import_multi_task, import_pretrained

    packing, model = _packing(out, name, dtype, vocabulary, keep_dead=keep_dead), _released(config)
    if answers is not None and gqa_answers is not None:
        lists = {"vqa": answers, "gqa": gqa_answers}
        imported = import_multi_task(checkpoint, lists, packing, config=model, watch=bytes_bar)
    elif answers is None and gqa_answers is None:
        imported = import_pretrained(checkpoint, packing, config=model, watch=bytes_bar)
    else:
        raise typer.BadParameter("a multi-task checkpoint needs both, --answers and --gqa-answers")
    _report(imported)


def import_bert(
    bert: Annotated[Path, typer.Argument(metavar="DIR", help="A BERT's folder, as `transformers` saves it.")],
    out: OutArgument,
    dtype: DtypeOption = Dtype.FLOAT32,
    vocabulary: VocabularyOption = None,
    name: NameOption = None,
) -> None:
    """Make a starting point whose text stream is a BERT's; its visual stream is new in training."""
    from twelve.cli.progress import bytes_bar
    from twelve.convert.importing import import_bert as make

    packing = _packing(out, name, dtype, vocabulary)
    _report(make(bert, packing, config=_released(None), watch=bytes_bar))


def _packing(
    out: Path, name: str | None, dtype: Dtype, vocabulary: Path | None, *, keep_dead: bool = False
) -> "Packing":
    from twelve.convert.packing import Packing

    return Packing(out, name or out.absolute().name, dtype.value, vocabulary, keep_dead)


def _released(config: Path | None) -> "ModelConfig":
    """Give the model's configuration; whatever the published code saved has the published code's heads."""
    import dataclasses

    from twelve.model.config import ModelConfig

    return ModelConfig.paper() if config is None else dataclasses.replace(ModelConfig.load(config), heads="released")


def _report(imported: "Imported") -> None:
    """Account for every key, and say what can be done next."""
    from twelve.cli.show import print_table

    source, out = imported.source, imported.bundle.path
    rows = [
        (share.use.value, str(len(share.keys)), f"{share.numbers:,}", FATES[share.use]) for share in imported.shares
    ]
    keys = sum(len(share.keys) for share in imported.shares)
    unique = sum(share.numbers for share in imported.shares if share.use != "tied")
    typer.echo(f"{source.path}: a {source.kind}, {source.form} format, {keys} keys, {unique:,} different numbers\n")
    print_table(("keys", "count", "numbers", "what became of them"), rows, numbers=("count", "numbers"))
    if source.passed_over:
        typer.echo(f"\npassed over: {', '.join(source.passed_over)}")
    if imported.left_out:
        typer.echo(f"\nleft out, the task table has no row for them: {', '.join(imported.left_out)}")
    if imported.bundle.manifest.tasks:
        typer.echo(f"\n{out}: answers {len(imported.bundle.manifest.tasks)} tasks\nnext: twelve check {out}")
    else:
        typer.echo(f"\n{out}: a starting point for training, it answers no task")
