"""What stands before nginx: keys, pools, deadlines' patterns, orders, and limits that fit each other."""

import json
import re
import shlex
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rolling import Reply, broken_bounds, mixed
from export import archive
from handlers import edge, edge_keys, edge_nginx
from handlers.edge import Edge
from handlers.edge_fleet import Plan
from handlers.edge_nginx import Backend, Limits, Site
from handlers.edge_orders import Orders
from handlers.torchserve import ServerDied
from twelve.errors import ConfigInvalid
from twelve.refusals import KINDS

PLAN = Plan(Path("bundle"), "eager", workers=1, threads=1, batch_size=1, cache=Path("cache"))
CODE = re.compile(r'return (\d{3}) \'\{"error": \{"code": "([a-z-]+)"')


def site(folder: Path, count: int = 2) -> Site:
    backends = tuple(Backend(f"127.0.0.1:{8100 + place}", f"127.0.0.1:{8200 + place}") for place in range(count))
    paths = {name: folder / name for name in ("certificate", "private_key", "keys")}
    made = Site(folder=folder, listen="127.0.0.1", port=1, http_port=None, backends=backends, limits=Limits(), **paths)
    edge_nginx.write(made)
    return made


def test_a_key_is_shown_once_kept_for_its_owner_alone_and_can_be_taken_away(tmp_path):
    file = tmp_path / "keys"
    key = edge_keys.add(file, "a.b-c_1")
    assert edge_keys.read(file) == {key: "a.b-c_1"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    edge_keys.remove(file, "a.b-c_1")
    assert edge_keys.read(file) == {}


@pytest.mark.parametrize("folder", ["plain", "a folder; with $(odd) 'signs'"])
def test_the_first_key_is_not_printed_but_found_by_what_is_printed(tmp_path, capfd, folder):
    (tmp_path / folder).mkdir()
    made = site(tmp_path / folder)
    edge.make_first_key(made)
    told = capfd.readouterr().out
    (key,) = edge_keys.read(made.keys)
    assert key not in told
    (line,) = (line for line in told.splitlines() if line.startswith("export "))
    assert after(line) == key
    edge.make_first_key(made)
    assert capfd.readouterr().out == ""
    edge_keys.add(made.keys, "b" * 64)
    made.keys.write_text("# no key: " + "a" * 64 + "\n" + made.keys.read_text())
    assert after(line) == key


def after(line: str) -> str:
    """Give what a shell has in KEY after a line."""
    shell = ["sh", "-c", f'{line}; printf %s "$KEY"']
    return subprocess.run(shell, capture_output=True, text=True, check=True).stdout


def test_what_the_greeting_asks_finds_the_certificate_in_a_folder_with_blanks(tmp_path, capfd):
    made = replace(site(tmp_path), certificate=tmp_path / "a certificate.pem")
    edge.greet(Edge(PLAN, [], made, tmp_path, exports=False))
    told = shlex.split(capfd.readouterr().out.split("\n\n")[1])
    assert told[told.index("--cacert") + 1] == str(made.certificate)


@pytest.mark.parametrize("name", ["", "a b", 'x"; default root; "', "x" * 65, "ü"])
def test_a_name_that_is_not_plain_gets_no_key(tmp_path, name):
    with pytest.raises(ConfigInvalid, match="is not 1 to 64 letters"):
        edge_keys.add(tmp_path / "keys", name)


def test_a_name_has_one_key(tmp_path):
    edge_keys.add(tmp_path / "keys", "a")
    with pytest.raises(ConfigInvalid, match="'a' has a key"):
        edge_keys.add(tmp_path / "keys", "a")
    with pytest.raises(ConfigInvalid, match="'b' has no key, only a has"):
        edge_keys.remove(tmp_path / "keys", "b")


def test_a_file_of_keys_that_others_may_read_or_that_holds_something_else_is_refused(tmp_path):
    file = tmp_path / "keys"
    edge_keys.add(file, "a")
    file.chmod(0o640)
    with pytest.raises(ConfigInvalid, match="chmod 600"):
        edge_keys.read(file)
    file.chmod(0o600)
    file.write_text("include /etc/passwd;\n")
    with pytest.raises(ConfigInvalid, match="key 1 is not written as"):
        edge_keys.read(file)


@pytest.mark.parametrize("most", [1000, 2000, 60_000])
def test_the_pattern_of_a_bound_takes_numbers_up_to_it_and_no_others(most):
    pattern = re.compile(edge_nginx.at_most(most))
    taken = {number for number in range(most + 1200) if pattern.match(str(number))}
    assert taken == set(range(1, most + 1))


def test_a_bound_that_has_no_simple_pattern_is_refused():
    with pytest.raises(ValueError, match="one digit and zeros, got 1500"):
        edge_nginx.at_most(1500)


def test_whatever_a_requests_age_nginx_knows_what_is_left_of_its_deadline(tmp_path):
    site(tmp_path)
    text = (tmp_path / "nginx.conf").read_text()
    quarters = re.findall(r'"~(\S+)" "\$\{whole\}(\S+)";', text.replace("?<", "?P<"))
    left_ms = {pair: int(left) for pair, left in re.findall(r'"(\d+s [\d.]+)" (\d+);', text)}
    places = set(map(int, re.findall(r"location = /-/within/(\d+) ", text)))
    for wait in edge_nginx.WAITS_S:
        for age_ms in (*range(1000), *range(1000, 1000 * wait, 499)):
            written = f"{age_ms / 1000:.3f}"
            quarter = next(quarter for pattern, quarter in quarters if re.match(pattern, written))
            left = left_ms[f"{wait}s {written.split('.')[0]}{quarter}"]
            assert 0 <= left - (1000 * wait - age_ms) < edge_nginx.STEP_MS
            assert left in places


@pytest.mark.parametrize(
    ("count", "halves"), [(1, [[0]]), (2, [[0, 1], [0], [1]]), (5, [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4]])]
)
def test_servers_are_exchanged_by_halves(count, halves):
    assert [sorted(pool) for pool in edge_nginx.pools(count)] == halves


def test_at_any_moment_of_a_change_nginx_finds_the_old_pool_or_the_new(tmp_path, monkeypatch):
    made = site(tmp_path)
    everything, first, second = edge_nginx.pools(2)
    seen: list[str] = []
    for name in ("touch", "unlink"):
        original = getattr(Path, name)

        def noted(path: Path, *arguments, original=original, **named):
            original(path, *arguments, **named)
            seen.append(pool_that_nginx_finds(made))

        monkeypatch.setattr(Path, name, noted)
    for old, new in ((everything, first), (first, second), (second, first), (first, everything)):
        seen.clear()
        edge_nginx.choose(made, new)
        names = [edge_nginx.pool_name(old), edge_nginx.pool_name(new)]
        assert seen == sorted(seen, key=names.index)
        assert seen[-1] == names[1]


def pool_that_nginx_finds(made: Site) -> str:
    """Read in-service.conf as nginx does: from top to bottom, the last that holds counts."""
    found = ""
    text = (made.folder / "in-service.conf").read_text()
    for file, pool in re.findall(r'(?:if \(-f "([^"]+)"\) \{\s+)?set \$pool (\S+);', text):
        found = pool if not file or Path(file).exists() else found
    return found


def test_only_pools_that_exist_are_chosen(tmp_path):
    with pytest.raises(ValueError, match="there is no pool of"):
        edge_nginx.choose(site(tmp_path, 4), frozenset({0, 2}))


def test_what_nginx_lets_wait_stays_below_half_of_torchserves_own_queue():
    assert 2 * Limits().in_flight <= archive.QUEUE


def test_torchserve_kills_no_worker_before_the_longest_deadline():
    assert edge_nginx.WAITS_S[-1] < archive.RESPONSE_TIMEOUT_S


def test_nginx_answers_what_is_on_its_way_before_it_ends_however_long_that_may_take(tmp_path):
    site(tmp_path)
    shutdown_s = int(re.search(r"worker_shutdown_timeout (\d+)s;", (tmp_path / "nginx.conf").read_text())[1])
    assert edge_nginx.STOP_TIMEOUT_S > shutdown_s > edge_nginx.WAITS_S[-1]


def test_nginx_answers_with_the_contracts_codes(tmp_path):
    site(tmp_path)
    written = CODE.findall((tmp_path / "errors.conf").read_text() + (tmp_path / "failed.conf").read_text())
    assert len(written) > 15
    assert {code for _, code in written} <= set(KINDS)


def test_an_order_is_carried_out_once_and_its_failure_is_told(tmp_path):
    orders, given = Orders(tmp_path), []
    orders.open()

    def restart(order) -> None:
        given.append(order["bundle"])
        raise ServerDied("it does not start", 1)

    ended = threading.Event()

    def launcher() -> None:
        while not ended.wait(0.01):
            orders.carry_out({"restart": restart})

    thread = threading.Thread(target=launcher)
    thread.start()
    with pytest.raises(ServerDied, match="it does not start"):
        orders.give("restart", bundle="b")
    ended.set()
    thread.join()
    assert given == ["b"]


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "other"}', '{"name": "breaks"}'])
def test_no_order_ends_the_launcher_whatever_it_raises(tmp_path, text):
    orders = Orders(tmp_path)
    orders.open()

    def breaks(_) -> None:
        raise ZeroDivisionError

    (orders.folder / "1.order").write_text(text)
    orders.carry_out({"breaks": breaks})
    assert "failed on it" in json.loads((orders.folder / "1.done").read_text())["failure"]


def test_an_order_that_is_no_text_is_refused_and_not_read_again(tmp_path):
    orders = Orders(tmp_path)
    orders.open()
    (orders.folder / "1.order").write_bytes(b'{"name": "\xff"}')
    orders.carry_out({})
    assert "failed on it" in json.loads((orders.folder / "1.done").read_text())["failure"]
    assert not (orders.folder / "1.order").exists()


def test_an_order_whose_outcome_finds_no_room_is_carried_out_once_and_logged(tmp_path, caplog):
    orders, given = Orders(tmp_path), []
    orders.open()
    (orders.folder / "1.order").write_text('{"name": "restart"}')
    (orders.folder / "1.new").mkdir()  # what is written first
    orders.carry_out({"restart": given.append})
    orders.carry_out({"restart": given.append})
    assert given == [{"name": "restart"}]
    assert "1.order is carried out, failure: None" in caplog.text


def test_an_order_without_a_launcher_is_refused(tmp_path):
    with pytest.raises(ServerDied, match="no launcher runs in"):
        Orders(tmp_path).give("restart")


def test_an_old_answer_to_a_request_that_began_after_a_new_one_is_a_mixture():
    old, new = Reply(0, 1, "200", "1"), Reply(1, 2, "200", "2")
    assert mixed([old, new, Reply(1.5, 3, "200", "1")], ["1", "2"]) == 0
    assert mixed([old, new, Reply(2.5, 3, "200", "1")], ["1", "2"]) == 1


@pytest.mark.parametrize("broken", [{"failed": 1}, {"mixed_versions": 2}, {"versions_seen": 3}])
def test_a_proof_of_rolling_breaks_its_bound_by_each_fault(broken):
    good = {"failed": 0, "mixed_versions": 0, "versions_seen": 4, "swaps": 3}
    assert broken_bounds(good) == []
    assert len(broken_bounds({**good, **broken})) == 1
