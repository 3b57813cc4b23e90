"""Bundles by path or by their name on a model hub, with the verbs that people know from there.

Only safetensors, JSON and text are fetched: nothing of a hub is unpickled or executed. Every file is compared with the
hash in the bundle's manifest before it is read.
"""

import json
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, TypedDict, Unpack

from twelve.bundle import CONFIG_FILE, MANIFEST, TOKENIZER_SETTINGS, VOCABULARY, Bundle, json_object, seal
from twelve.card import CARD, THIS_FOLDER, model_card
from twelve.errors import BundleMissing, ConfigInvalid

FETCHED = (MANIFEST, "*.json", "*.safetensors", "*.txt", CARD)
"""Patterns of the files that a bundle may have; whatever else a repository holds stays there."""

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)

FIRST_VERSION = "0"
CHANGED = "+changed"
"""Put behind the version of weights that are no longer those of the bundle they came from."""

TOKENIZER = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "split_special_tokens": True,  # "[SEP]" typed by a user is text
}
"""What makes `transformers.AutoTokenizer` of a bundle's vocabulary give the ids of `twelve.text.TextEncoder`."""


class Access(TypedDict, total=False):
    """How a hub is asked; the names are huggingface_hub's own.

    Attributes:
        revision: Branch, tag or commit; a commit cannot change afterwards.
        token: Of the user, or whether to use the one that was stored.
        cache_dir: Where files are kept; by default where huggingface_hub keeps them.
        force_download: Fetch again what is kept.
        local_files_only: Ask nobody, use what is kept.
    """

    revision: str | None
    token: str | bool | None
    cache_dir: str | Path | None
    force_download: bool
    local_files_only: bool


def fetch(path_or_hub_id: str | Path, **access: Unpack[Access]) -> Path:
    """Give the folder of a bundle.

    Args:
        path_or_hub_id: A folder, or `owner/name` on a hub.
        **access: How to ask the hub, where it has to be asked.

    Returns:
        The folder as it is, or the snapshot that huggingface_hub keeps.

    Raises:
        BundleMissing: It is no folder, and the hub does not give it.
        TypeError: There is no such argument.
    """
    _refuse_unknown(access)
    if path_or_hub_id == "":
        raise BundleMissing("the name of the bundle is empty; name a folder that holds one, or `owner/name` on a hub")
    if Path(path_or_hub_id).is_dir():
        return Path(path_or_hub_id)
    if isinstance(path_or_hub_id, Path) or not HUB_ID.fullmatch(path_or_hub_id):
        raise BundleMissing(f"{path_or_hub_id}: is no folder; name one that holds a bundle, or `owner/name` on a hub")
    from huggingface_hub import snapshot_download  # asked for by those who name a hub, not by a server

    try:
        return Path(snapshot_download(path_or_hub_id, allow_patterns=list(FETCHED), **access))
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise BundleMissing(f"{path_or_hub_id}: is no folder here, and the hub does not give it ({why})") from error


def dress(bundle: Bundle, *, where: str = THIS_FOLDER) -> Bundle:
    """Put beside a bundle what others read of it: its card, and what `transformers.AutoTokenizer` wants to know.

    Neither belongs to the bundle: they follow from it, and its digest stays as it is.

    Args:
        bundle: As sealed.
        where: What to load it by, `owner/name` where it is on a hub.

    Returns:
        The bundle.
    """
    (bundle.path / CARD).write_text(model_card(bundle, where=where), encoding="utf-8")
    if VOCABULARY in bundle.manifest.files:
        longest = json_object(bundle.path / CONFIG_FILE).get("max_position_embeddings")
        settings = TOKENIZER if longest is None else {**TOKENIZER, "model_max_length": longest}
        (bundle.path / TOKENIZER_SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return bundle


class HubVerbs(ABC):
    """`from_pretrained`, `save_pretrained` and `push_to_hub` for a model that is part of a bundle.

    Differs: not `huggingface_hub.PyTorchModelHubMixin`, which knows of one file of weights and a configuration, reads
    pickles where there are no safetensors, and lets weights that do not fit pass; see docs/decisions.

    Attributes:
        own_files: Files of a bundle that `save` writes.
        origin: The bundle that the model came from, if it came from one.
    """

    own_files: ClassVar[tuple[str, ...]]
    origin: Bundle | None = None

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read configuration and weights."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write configuration and weights."""

    @abstractmethod
    def refuse_unsavable(self) -> None:
        """Raise `ConfigInvalid` where what `save` would write is nothing that `load` reads, or nothing to be served."""

    @abstractmethod
    def is_as_stored(self, folder: Path) -> bool:
        """Say whether configuration and weights are those of a folder."""

    @classmethod
    def from_pretrained(cls, path_or_hub_id: str | Path, **access: Unpack[Access]) -> Self:
        """Load a model.

        Args:
            path_or_hub_id: A bundle's folder, or `owner/name` on a hub.
            **access: How to ask the hub: `revision`, `token`, `cache_dir`, `force_download`, `local_files_only`.

        Returns:
            The model, in evaluation mode.

        Raises:
            BundleMissing: There is no such bundle.
            ChecksumMismatch: A file is not the one that its manifest names.
            ConfigInvalid: Weights and configuration do not fit each other; names the tensor.
        """
        bundle = Bundle.open(fetch(path_or_hub_id, **access))
        bundle.verify()
        model = cls.load(bundle.path)
        model.origin = bundle
        return model

    def save_pretrained(self, folder: str | Path, *, name: str | None = None, version: str | None = None) -> Bundle:
        """Write the model as a whole bundle: what it came with — vocabulary, answers, detector — goes with it.

        Scores go with it only where configuration and weights are still those that were measured. A model that came
        from no bundle becomes one that knows no task: a starting point for training.

        Args:
            folder: Must not be there, or be empty.
            name: Of the model; by default as before, or the folder's.
            version: Of the model; by default as before, marked where it was changed.

        Returns:
            The bundle.

        Raises:
            ConfigInvalid: Something is in the folder already; bundles are never changed. Or the model is not the one
                that its configuration describes, or has weights that are no numbers; names the tensor.
        """
        self._refuse(name=name, version=version)
        out = Path(folder)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigInvalid(f"{out}: is there already, and a bundle is never changed; name a new folder")
        return dress(self._write(out, name, version))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload a bundle of twelve-in-one",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        version: str | None = None,
    ) -> str:
        """Write the model as `save_pretrained` does, and upload the folder.

        Args:
            repo_id: `owner/name`; made where it is not there.
            commit_message: Of the upload.
            private: Whether a new repository is; None leaves that to the hub.
            token: Of the user; None for the one that was stored.
            branch: To upload to; None for the main one.
            create_pr: Whether to open a pull request in place of committing.
            version: Of the model, as for `save_pretrained`.

        Returns:
            The commit's address.

        Raises:
            ConfigInvalid: As for `save_pretrained`; nothing is made on the hub then.
        """
        self._refuse(version=version)
        from huggingface_hub import HfApi  # asked for by those who publish, not by a server

        api = HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            bundle = self.save_pretrained(Path(folder) / repo.rpartition("/")[2], version=version)
            dress(bundle, where=repo)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=bundle.path,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
        return str(done)

    def _refuse(self, **labels: str | None) -> None:
        for label, value in labels.items():
            if value is not None and not isinstance(value, str):
                raise ConfigInvalid(f"{label} is {value!r}; it must be text, or None for the one from before")
        self.refuse_unsavable()

    def _write(self, out: Path, name: str | None, version: str | None) -> Bundle:
        origin = self.origin
        if origin is None:
            self.save(out)
            return seal(out, name=name or out.name, version=version or FIRST_VERSION, tasks={})
        manifest = origin.manifest
        before: dict[str, Any] = {"name": name or manifest.name, "tasks": manifest.tasks}
        if self.is_as_stored(origin.path):
            _copy(origin, manifest.files, out)
            scores, notes = manifest.scores, manifest.notes
            return seal(out, version=version or manifest.version, scores=scores, notes=notes, **before)
        self.save(out)
        _copy(origin, [file for file in manifest.files if file not in self.own_files], out)
        changed = (
            f"{manifest.name} {manifest.version}, digest {origin.digest()}; its scores do not hold for these weights"
        )
        notes = {**manifest.notes, "changed_from": changed}
        return seal(out, version=version or manifest.version + CHANGED, notes=notes, **before)


def _refuse_unknown(access: Access) -> None:
    for name in access:
        if name not in Access.__annotations__:
            known = ", ".join(Access.__annotations__)
            raise TypeError(f"there is no argument {name!r}; a hub is asked with {known}")


def _copy(bundle: Bundle, files: Iterable[str], out: Path) -> None:
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / file, out / file)
