"""Which questions are put to which picture: balanced answers, even shares of families, the same question to twins."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from training.world.kinds import is_novel
from training.world.scene import Scene

from .ask import Ask
from .asks import asks
from .balance import Balance, Shares
from .groups import twin_groups
from .phrasing import Style
from .quota import quotas
from .seen import Seen

USES: Final = 4
"""The same thing is asked about a picture at most so many times, in other words."""

PAIRS_PER_TWIN: Final = 2
"""So many questions at most are put both to a scene and to its twin, with different answers."""


@dataclass(frozen=True)
class Question:
    """One question about one picture, in words."""

    scene: Scene
    ask: Ask
    text: str


@dataclass(frozen=True)
class QuestionSet:
    """Everything that is asked about the pictures of one split.

    Attributes:
        questions: In order of pictures.
        complementary: Pairs of indices into `questions`: one text, two pictures, two answers.
    """

    questions: tuple[Question, ...]
    complementary: tuple[tuple[int, int], ...]


def question_set(scenes: Sequence[Scene], style: Style, *, amount: int, rng: Random) -> QuestionSet:
    """Ask about so many things in the pictures of one split; a little fewer where balance forbids more."""
    questioner = _Questioner(style, rng)
    quota = dict(zip((scene.id for scene in scenes), quotas(amount, len(scenes)), strict=True))
    for group in twin_groups(scenes):
        questioner.ask_about(group, {scene.id: quota[scene.id] for scene in group})
    return QuestionSet(tuple(questioner.questions), tuple(questioner.complementary))


class _Questioner:
    """Asks picture after picture, remembering what was asked and answered before.

    What one picture has no questions for is owed, and asked about the next ones.
    """

    def __init__(self, style: Style, rng: Random) -> None:
        self.questions: list[Question] = []
        self.complementary: list[tuple[int, int]] = []
        self._style = style
        self._rng = rng
        self._balance = Balance()
        self._shares = Shares(style.weights)
        self._owed = 0

    def ask_about(self, group: Sequence[Scene], quota: dict[int, int]) -> None:
        """Ask about a scene and its twins."""
        tables = [_Table(scene, self._style, self._rng) for scene in group]
        for twin in tables[1:]:
            self._ask_both(tables[0], twin)
        for table in tables:
            self._owed += quota[table.scene.id] - table.asked
            while self._owed > 0 and self._ask_one(table):
                self._owed -= 1

    def _ask_both(self, original: "_Table", twin: "_Table") -> None:
        shared = list(_complementary(original, twin))
        self._rng.shuffle(shared)
        for ask, other in shared[:PAIRS_PER_TWIN]:
            template = self._rng.choice(self._style.templates[ask.family])
            places = len(self.questions), len(self.questions) + 1
            self._keep(original, ask, template)
            self._keep(twin, other, template)
            self.complementary.append(places)

    def _ask_one(self, table: "_Table") -> bool:
        for family in self._shares.by_need():
            ask = self._best(table, family)
            if ask is not None:
                self._keep(table, ask, table.wording(ask, self._rng))
                return True
        return False

    def _best(self, table: "_Table", family: str) -> Ask | None:
        """Give the ask whose answer is most wanted, None where none is welcome."""
        open_asks = [ask for ask in table.open(family) if self._is_welcome(ask)]
        return min(open_asks, key=lambda ask: self._rank(table, ask), default=None)

    def _is_welcome(self, ask: Ask) -> bool:
        return self._balance.welcomes(ask.family, ask.subject, answer=ask.answer, options=ask.options)

    def _rank(self, table: "_Table", ask: Ask) -> tuple[int, int, int, float]:
        return (
            table.uses(ask),
            self._balance.family_lead(ask.family, ask.answer, ask.options),
            self._balance.lead(ask.subject, ask.answer, ask.options),
            self._rng.random(),
        )

    def _keep(self, table: "_Table", ask: Ask, template: str) -> None:
        self.questions.append(table.use(ask, template))
        self._balance.add(ask.family, ask.subject, ask.answer)
        self._shares.add(ask.family)


class _Table:
    """What may still be asked about one picture, and what was."""

    def __init__(self, scene: Scene, style: Style, rng: Random) -> None:
        self.scene = scene
        self.asked = 0
        self._templates = style.templates
        listed = asks(Seen(scene), rng)
        self._asks = {
            family: [ask for ask in listed.get(family, ()) if _concerns(scene, ask)] for family in style.weights
        }
        self._used: dict[tuple[str, ...], list[str]] = {}

    def all(self) -> Iterable[Ask]:
        """Give every ask."""
        return (ask for listed in self._asks.values() for ask in listed)

    def open(self, family: str) -> list[Ask]:
        """List a family's asks that can be put once more in new words."""
        most = min(USES, len(self._templates[family]))
        return [ask for ask in self._asks[family] if self.uses(ask) < most]

    def uses(self, ask: Ask) -> int:
        """Say how often this was asked."""
        return len(self._used.get(ask.key, ()))

    def wording(self, ask: Ask, rng: Random) -> str:
        """Give a template in which this was not asked yet."""
        used = self._used.get(ask.key, ())
        return rng.choice([template for template in self._templates[ask.family] if template not in used])

    def use(self, ask: Ask, template: str) -> Question:
        """Put an ask into words and remember it."""
        self._used.setdefault(ask.key, []).append(template)
        self.asked += 1
        return Question(self.scene, ask, template.format(**ask.slots))


def _concerns(scene: Scene, ask: Ask) -> bool:
    """Say whether an ask belongs to the scene's split: a novel scene is asked for its novelty."""
    return scene.split != "novel" or any(is_novel(kind, color) for kind, color in ask.pairs)


def _complementary(original: _Table, twin: _Table) -> Iterator[tuple[Ask, Ask]]:
    """Pair the asks that an edited scene answers otherwise."""
    others = {ask.key: ask for ask in twin.all()}
    for ask in original.all():
        other = others.get(ask.key)
        if other is not None and other.answer != ask.answer:
            yield ask, other
