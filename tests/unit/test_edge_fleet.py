"""Servers behind nginx while the machine refuses: half of them is never left without a process for good."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from handlers.edge_fleet import BETWEEN_STARTS_S, Fleet, Instance, Plan
from handlers.torchserve import Ports, ServerDied

OLD = Plan(Path("old"), "eager", workers=1, threads=1, batch_size=1, cache=Path("cache"))
NEW = replace(OLD, bundle=Path("new"))
PORTS = Ports(1, 2, 3, 4, 5, 6, 7)
EVERYTHING, FIRST, SECOND = frozenset({0, 1, 2, 3}), frozenset({0, 1}), frozenset({2, 3})


@dataclass
class Idle(Instance):
    """A process that serves nothing, ready at once; to start it with a bundle raises what is named for that."""

    refuses: dict[Path, Exception] = field(default_factory=dict)
    plan: Plan | None = None

    def start(self, plan: Plan) -> None:
        if error := self.refuses.get(plan.bundle):
            raise error
        self.plan = plan
        self.process = subprocess.Popen(["sleep", "600"])

    def is_ready(self) -> bool:
        return self.is_running()

    def drain(self) -> None:
        pass


@dataclass
class Chosen:
    """Which servers nginx was told to ask, and the sets of which it cannot be told."""

    sets: list[frozenset[int]] = field(default_factory=list)
    refuses: set[frozenset[int]] = field(default_factory=set)

    def __call__(self, members: frozenset[int]) -> None:
        if members in self.refuses:
            raise OSError(28, "No space left on device")
        self.sets.append(members)


@pytest.fixture
def servers(tmp_path: Path) -> list[Idle]:
    return [Idle(PORTS, tmp_path / str(number)) for number in range(4)]


@pytest.fixture
def chosen() -> Chosen:
    return Chosen()


@pytest.fixture
def fleet(servers: list[Idle], chosen: Chosen) -> Iterator[Fleet]:
    made = Fleet(servers, OLD, chosen)
    with made.running():
        yield made


def test_an_exchange_asks_the_new_half_only_when_it_is_ready(fleet, servers, chosen):
    fleet.exchange(NEW.bundle)
    assert [server.plan for server in servers] == [NEW] * 4
    assert chosen.sets == [EVERYTHING, SECOND, FIRST, EVERYTHING]


@pytest.mark.parametrize("error", [ServerDied("it ended", 1), OSError(12, "no process"), KeyError("a line")], ids=repr)
def test_whatever_stops_the_new_bundle_the_old_one_is_served_by_all_again(fleet, servers, chosen, error):
    servers[1].refuses[NEW.bundle] = error
    with pytest.raises(type(error)):
        fleet.exchange(NEW.bundle)
    assert all(server.is_running() for server in servers)
    assert [server.plan for server in servers] == [OLD] * 4
    assert chosen.sets[-1] == EVERYTHING


def test_a_new_half_that_nginx_cannot_be_told_of_is_taken_back(fleet, servers, chosen):
    chosen.refuses = {FIRST}
    with pytest.raises(OSError, match="No space left"):
        fleet.exchange(NEW.bundle)
    assert [server.plan for server in servers] == [OLD] * 4
    assert chosen.sets[-1] == EVERYTHING


def test_a_server_that_could_not_be_started_is_tried_again_while_the_others_go_on(fleet, servers, chosen):
    for server in servers[:2]:
        server.refuses = {OLD.bundle: OSError(12, "no process"), NEW.bundle: OSError(12, "no process")}
    with pytest.raises(OSError, match="no process"):
        fleet.exchange(NEW.bundle)
    fleet.tend()
    assert [server.is_running() for server in servers] == [False, False, True, True]
    servers[0].refuses = servers[1].refuses = {}
    fleet.tend()
    assert [server.plan for server in servers if server.is_running()] == [OLD] * 4
    assert chosen.sets[-1] == EVERYTHING


def test_nginx_that_cannot_be_told_is_told_at_the_next_look(fleet, servers, chosen):
    chosen.refuses = {SECOND}
    for server in servers[:2]:
        server.stop()
        server.refuses[OLD.bundle] = OSError(12, "no process")
    fleet.tend()
    assert chosen.sets == [EVERYTHING]
    chosen.refuses = set()
    fleet.tend()
    assert chosen.sets == [EVERYTHING, SECOND]


def test_a_server_that_cannot_be_started_is_not_tried_at_every_look(tmp_path, monkeypatch):
    monkeypatch.setattr("handlers.edge_fleet.time.monotonic", lambda: now_s)
    (tmp_path / "a file").touch()
    server, now_s = Instance(PORTS, tmp_path / "a file" / "server"), 2 * BETWEEN_STARTS_S
    Fleet([server], OLD, Chosen()).tend()
    assert not server.is_running()
    assert server.started_s == now_s
