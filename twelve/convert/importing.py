"""Foreign weights to bundles: the published multi-task checkpoint, the pre-training one, and BERT's."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from twelve.convert import answers, checkpoint
from twelve.convert.accounts import Accounted, Expected, account, multi_task, pretrained
from twelve.convert.bert import read_bert
from twelve.convert.packing import BERT_VOCABULARY, Contents, Imported, Packing, Source, pack
from twelve.convert.watch import Watch
from twelve.errors import ConfigInvalid
from twelve.model.config import ModelConfig
from twelve.tasks.registry import FIRST_NEW_TOKEN, TASKS


def import_multi_task(
    path: Path, answer_files: Mapping[str, Path], packing: Packing, *, config: ModelConfig, watch: Watch
) -> Imported:
    """Make a bundle of the published multi-task checkpoint, or of one that the same code saved.

    Args:
        path: Of the checkpoint.
        answer_files: Lists of answers by head, "vqa" and "gqa".
        packing: What the bundle is to be.
        config: Of the model, with the released heads.
        watch: Shows progress.

    Returns:
        The bundle; it knows the published tasks, but for those whose tokens the task table has no row for.

    Raises:
        WeightsInvalid: The checkpoint or a list of answers is not as it should be; names the key or the entry.
        ConfigInvalid: The vocabulary does not fit, the task table has a row for no task, the bundle's place is taken,
            or the disk is too small.
    """
    packing.refuse_taken()
    vocabulary = packing.choose_vocabulary(config)
    outputs = {"vqa": config.vqa_labels, "gqa": config.gqa_labels}
    listed = {head: answers.read(file, outputs=outputs[head]) for head, file in answer_files.items()}
    tasks, left_out = _tasks(config)
    source, weights = _read(path, multi_task(config), watch)
    imported = pack(Contents(config, source, weights, vocabulary, listed, tasks), packing, watch)
    return dataclasses.replace(imported, left_out=left_out)


def import_pretrained(path: Path, packing: Packing, *, config: ModelConfig, watch: Watch) -> Imported:
    """Make a starting point of the published pre-training checkpoint: a bundle that knows no task.

    Args:
        path: Of the checkpoint.
        packing: What the bundle is to be.
        config: Of the model that the training is for; the starting point has neither its task table nor its heads.
        watch: Shows progress.

    Returns:
        The bundle.

    Raises:
        WeightsInvalid: The checkpoint is not as it should be; names the key.
        ConfigInvalid: The vocabulary does not fit, the bundle's place is taken, or the disk is too small.
    """
    packing.refuse_taken()
    expected = pretrained(config)
    vocabulary = packing.choose_vocabulary(expected.config)
    source, weights = _read(path, expected, watch)
    return pack(Contents(expected.config, source, weights, vocabulary), packing, watch)


def import_bert(folder: Path, packing: Packing, *, config: ModelConfig, watch: Watch) -> Imported:
    """Make a starting point whose text stream is a BERT's; it has no visual stream yet.

    Args:
        folder: As `transformers` saves a BERT.
        packing: What the bundle is to be.
        config: Of the model but for its text stream.
        watch: Shows progress.

    Returns:
        The bundle.

    Raises:
        BundleMissing: The folder has no config.json.
        WeightsInvalid: The weights are not as they should be; names the key.
        ConfigInvalid: It is no BERT, the vocabulary does not fit, the bundle's place is taken, or the disk is small.
    """
    packing.refuse_taken()
    with watch("reading"):
        bert = read_bert(folder, config)
    expected = bert.expected
    vocabulary = packing.choose_vocabulary(
        expected.config, bert.vocabulary if bert.vocabulary.is_file() else BERT_VOCABULARY
    )
    weights = _accounted(bert.checkpoint, expected, watch)
    source = Source(bert.weights, bert.checkpoint.form, expected.kind, bert.passed_over)
    return pack(Contents(expected.config, source, weights, vocabulary), packing, watch)


def _tasks(config: ModelConfig) -> tuple[dict[str, int], tuple[str, ...]]:
    """Part the published tasks into those that a model can tell apart, with their tokens, and the names of the rest."""
    published = {task.name: task.token for task in TASKS.values() if task.token < FIRST_NEW_TOKEN}
    rows = config.task_embedding_rows if config.task_specific_tokens else FIRST_NEW_TOKEN
    known = {name: token for name, token in published.items() if token < rows}
    if not known:
        raise ConfigInvalid(
            f"task_embedding_rows is {rows}, the first published task has token {min(published.values())}; a bundle "
            "of this checkpoint would answer no task"
        )
    return known, tuple(name for name in published if name not in known)


def _read(path: Path, expected: Expected, watch: Watch) -> tuple[Source, Accounted]:
    with watch("reading"):
        read = checkpoint.read(path)
    return Source(path, read.form, expected.kind), _accounted(read, expected, watch)


def _accounted(read: checkpoint.Checkpoint, expected: Expected, watch: Watch) -> Accounted:
    with watch("checking", length=sum(tensor.nbytes for tensor in read.tensors.values())) as counted:
        return account(read.tensors, expected, counted)
