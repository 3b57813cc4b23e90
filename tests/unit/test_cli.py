import base64
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.bundles import make_tiny_bundle, picture
from twelve import __version__
from twelve.assembly import Settings
from twelve.bundle import Bundle, seal
from twelve.cli import main
from twelve.cli.options import settings_for
from twelve.convert.restoring import DEAD_FILE
from twelve.draw import BEST
from twelve.engines.exported import EXPORT_FILE, FORMAT
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.wire import Call

BOXES = [[20.0, 40.0, 120.0, 140.0], [150.0, 60.0, 260.0, 200.0]]
GIVEN = {  # what a question needs beside its text and pictures
    "visual7w": ["--box", "20,40,120,140", "--box", "150,60,260,200"],
    "guesswhat": ["--boxes", json.dumps(BOXES), "--dialog", "Is it a car?=Yes", "--dialog", "Is x=y? = No"],
}
SAME = 1e-4  # of a score in [0, 1]: threads of this process sum in another order than one does


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


@pytest.fixture(scope="module")
def service(bundle: Path) -> Service:
    return Service.open(bundle, Settings(engine="eager"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
    return [str(path) for path in paths]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in an empty folder; give its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def server(service: Service) -> Iterator[str]:
    """The service behind a real socket."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = service.answer_calls([Call(body=body, content_type=self.headers["content-type"])])[0]
            self.send_response(reply.status)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *arguments):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def arguments(name: str, files: list[str]) -> list[str]:
    """A task's question on the command line."""
    task = TASKS[name]
    pictures = [part for path in files[: task.pictures_in_example] for part in ("--image", path)]
    text = [] if "dialog" in task.request.model_fields else ["the red car"]
    return ["ask", name, *text, *pictures, *GIVEN.get(name, [])]


def expected(name: str, service: Service) -> dict[str, object]:
    """The service's own answer to the same question, in the contract's JSON."""
    task = TASKS[name]
    pictures = [base64.b64encode(picture(seed)).decode() for seed in range(task.pictures_in_example)]
    fields = task.example(pictures)
    if "boxes" in fields:
        fields["boxes"] = BOXES
    if "dialog" in fields:
        turns = [("Is it a car?", "Yes"), ("Is x=y?", "No")]
        fields["dialog"] = [{"question": question, "answer": answer} for question, answer in turns]
    else:
        fields[task.text_field] = "the red car"
    call = Call(body={"task": name, **fields}, content_type="application/json")
    return json.loads(service.answer_calls([call])[0].body)


def by_answer(answer: dict[str, object]) -> dict[str, float]:
    return {json.dumps(one["answer"]): one["score"] for one in answer["candidates"]}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())))


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_asked_as_the_contract_asks_it(run, bundle, service, files, name):
    code, out, err = run(*arguments(name, files), "--bundle", bundle, "--json")

    answer, wanted = json.loads(out), expected(name, service)
    assert code == 0, err
    assert answer.keys() == wanted.keys()
    assert [answer[key] for key in ("task", "images", "model")] == [wanted[key] for key in ("task", "images", "model")]
    assert by_answer(answer) == pytest.approx(by_answer(wanted), abs=SAME)


@pytest.mark.parametrize("name", ["vqa-v2", "nlvr2", "guesswhat"])
def test_a_server_is_asked_the_same_question(run, service, server, files, name):
    code, out, err = run(*arguments(name, files), "--server", server, "--json")

    assert (code, err) == (0, "")
    assert by_answer(json.loads(out)) == pytest.approx(by_answer(expected(name, service)), abs=SAME)


def test_a_ref_stands_for_a_picture_sent_before(run, server, files):
    _, out, _ = run("ask", "vqa-v2", "--image", files[0], "What?", "--server", server, "--json")
    ref = json.loads(out)["images"][0]

    code, again, _ = run("ask", "vqa-v2", "--image", ref, "What?", "--server", server, "--json")

    assert code == 0
    assert json.loads(again)["images"] == [ref]


def test_people_read_the_answer_first_and_then_its_candidates(run, bundle, service, files):
    code, out, err = run(*arguments("vqa-v2", files), "--bundle", bundle)

    wanted = expected("vqa-v2", service)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == [wanted["answer"]]
    assert lines[1] == ["candidate", "score"]
    assert [line[0] for line in lines[2:-1]] == [one["answer"] for one in wanted["candidates"]]
    assert lines[-1][:2] == ["tiny", "0"]
    assert "using the eager engine: build/tiny holds no exported graphs" in err


@pytest.mark.parametrize(("name", "choices"), [("visual7w", [str(box) for box in BOXES]), ("coco-retrieval", None)])
def test_an_index_is_followed_by_what_it_counts(run, bundle, service, files, name, choices):
    _, out, _ = run(*arguments(name, files), "--bundle", bundle)

    place = expected(name, service)["answer"]
    assert out.splitlines()[0] == f"{place}  {(choices or files)[place]}"


def test_an_engine_that_is_asked_for_is_used_without_a_remark(run, bundle, files):
    code, _, err = run(*arguments("vqa-v2", files), "--bundle", bundle, "--engine", "eager")

    assert (code, err) == (0, "")


def test_an_engine_without_its_graphs_refuses_to_start(run, bundle, files):
    code, _, err = run(*arguments("vqa-v2", files), "--bundle", bundle, "--engine", "onnxruntime")

    assert code == 2
    assert err.startswith("bundle-missing: build/tiny holds no exported graphs")


def test_graphs_that_were_exported_from_the_bundle_are_used(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "build" / bundle.name / EXPORT_FILE
    made.parent.mkdir(parents=True)

    made.write_text(json.dumps({"format": FORMAT, "bundle": Bundle.open(bundle).digest(), "graphs": {}}))
    own = settings_for(bundle, None).engine
    made.write_text(json.dumps({"format": FORMAT, "bundle": "another", "graphs": {}}))
    others = settings_for(bundle, None).engine

    assert (own, others) == ("onnxruntime", "eager")
    assert "was exported from another bundle" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["refcoco", "visual7w", "guesswhat", "coco-retrieval"])
def test_what_was_answered_is_marked_in_the_drawing(run, bundle, files, tmp_path, name):
    code, _, err = run(*arguments(name, files), "--bundle", bundle, "--draw", tmp_path / "new" / "out.png")

    assert code == 0, err
    drawn = pixels(tmp_path / "new" / "out.png")
    assert drawn.shape[1] >= 640
    assert (drawn == BEST).all(axis=2).sum() > 100


def test_an_answer_in_words_is_drawn_as_a_caption(run, bundle, files, tmp_path):
    code, _, err = run(*arguments("vqa-v2", files), "--bundle", bundle, "--draw", tmp_path / "out.png")

    assert code == 0, err
    drawn = pixels(tmp_path / "out.png")
    assert not (drawn == BEST).all(axis=2).any()
    assert drawn.shape[0] > 480


WRONG = {
    "ask nobody x": "unknown-task: task: nobody knows 'nobody'; known are vqa-v2,",
    "ask gqa x": "invalid-field: image: is missing; task 'gqa' takes question, image",
    "ask gqa -i no.png x": "unreadable-image: image: there is no file no.png; check the path",
    "ask gqa -i . x": "unreadable-image: image: . cannot be read: Is a directory; name a picture file",
    "ask gqa -i text x": "unreadable-image: image: the bytes are no picture",
    "ask gqa -i 0.png -i 1.png x": "invalid-field: image: task 'gqa' takes one picture, got 2",
    "ask nlvr2 -i 0.png x": "invalid-field: images: task 'nlvr2' compares 2 pictures, got 1",
    "ask gqa -i 0.png": "invalid-field: question: is missing",
    "ask guesswhat -i 0.png x": "invalid-field: TEXT: task 'guesswhat' takes no text; give --dialog",
    "ask gqa -i 0.png x --box 1,2,3,4": "invalid-field: boxes: is unknown; task 'gqa' takes question, image",
    "ask visual7w -i 0.png x --box 1,2,3": "invalid-field: box: needs four numbers x1, y1, x2, y2, got 1,2,3",
    "ask visual7w -i 0.png x --box a,b,c,d": "invalid-field: box: needs four numbers x1, y1, x2, y2, got a,b,c,d",
    "ask visual7w -i 0.png x --boxes [[": "invalid-field: --boxes: is no JSON",
    "ask visual7w -i 0.png x --boxes 3": "invalid-field: --boxes: must be a list of boxes [[x1, y1, x2, y2], …], got 3",
    "ask visual7w -i 0.png x --boxes [3]": "invalid-field: box: needs four numbers x1, y1, x2, y2, got 3",
    "ask guesswhat -i 0.png --dialog Why?": 'invalid-field: --dialog: write each turn as "question=answer", got "Why?"',
    f"ask gqa -i sha256:{'0' * 64} x": "unknown-ref: image: no picture is kept under",
}


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_question_gets_its_sentence_and_code_1(run, bundle, files, tmp_path, command):
    (tmp_path / "text").write_text("no picture")
    for path in files:
        shutil.copy(path, tmp_path)

    code, out, err = run(*command.split(), "--bundle", bundle, "--engine", "eager")

    assert (code, out) == (1, "")
    assert err.startswith(WRONG[command])


def test_a_server_that_does_not_answer_is_named(run, files):
    code, out, err = run(*arguments("vqa-v2", files), "--server", "http://127.0.0.1:9")

    assert (code, out) == (1, "")
    assert err.startswith("no-worker: http://127.0.0.1:9 does not answer (")
    assert "is a server running there?" in err


def test_a_server_and_a_bundle_are_not_both_asked(run, files):
    code, _, err = run(*arguments("vqa-v2", files), "--server", "http://127.0.0.1:9", "--bundle", "x")

    assert code == 2
    assert "leave out" in err


def test_a_drawing_that_cannot_be_written_is_told_after_the_answer(run, bundle, files, tmp_path):
    (tmp_path / "out.png").mkdir()

    code, out, err = run(*arguments("gqa", files), "--bundle", bundle, "--engine", "eager", "--draw", "out.png")

    assert (code, err) == (1, "out.png: Is a directory\n")
    assert "candidate" in out


def test_a_ref_cannot_be_drawn(run, server, files, tmp_path):
    _, out, _ = run(*arguments("gqa", files), "--server", server, "--json")
    ref = json.loads(out)["images"][0]

    code, _, err = run("ask", "gqa", "x", "-i", ref, "--server", server, "--draw", tmp_path / "out.png")

    assert (code, err) == (1, "invalid-field: --draw: needs the pictures' files, got a ref; give --image a path\n")


def test_regions_are_listed_best_first_and_drawn(run, bundle, service, files, tmp_path):
    code, out, err = run("regions", files[0], "--bundle", bundle, "--json", "--draw", tmp_path / "out.png")

    found = json.loads(out)
    assert code == 0, err
    assert (found["width"], found["height"]) == (320, 240)
    assert found["image"].startswith("sha256:")
    assert found["detector"] == service.extractor.digest
    assert [one["score"] for one in found["regions"]] == sorted(
        (one["score"] for one in found["regions"]), reverse=True
    )
    assert {one["label"] for one in found["regions"]} <= {"car", "dog"}
    assert (pixels(tmp_path / "out.png") == BEST).all(axis=2).any()


def test_a_detectors_own_folder_finds_what_its_bundle_finds(run, bundle, files, tmp_path):
    for name in ("detector.json", "detector.safetensors"):
        shutil.copy(bundle / name, tmp_path / name)

    _, of_bundle, _ = run("regions", files[0], "--bundle", bundle, "--json", "--engine", "eager")
    code, out, err = run(
        "regions", files[0], "--detector", tmp_path, "--json", "--draw", tmp_path / "1.png", "--most", "1"
    )
    run("regions", files[0], "--detector", tmp_path, "--draw", tmp_path / "all.png")

    assert code == 0, err
    assert json.loads(out) == json.loads(of_bundle)
    assert len(json.loads(out)["regions"]) > 1
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "all.png").read_bytes()


def test_a_detectors_own_folder_is_named_alone(run, bundle, files):
    code, _, err = run("regions", files[0], "--detector", bundle, "--bundle", bundle)

    assert code == 2
    assert "--detector: a detector's own folder has no bundle and no engine to choose" in err


def test_regions_are_a_table_for_people(run, bundle, files):
    code, out, _ = run("regions", files[0], "--bundle", bundle)

    assert code == 0
    assert out.split()[:3] == ["label", "score", "box"]
    assert out.splitlines()[1].split()[0] in ("car", "dog")


def test_the_tasks_are_listed_with_what_they_take(run):
    code, out, _ = run("tasks")

    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert code == 0
    assert list(rows) == list(TASKS)
    assert "17" in rows["guesswhat"]
    assert "dialog, image, boxes" in rows["guesswhat"]
    assert "trained" not in out.splitlines()[0]


def test_the_tasks_of_a_bundle_are_told_from_the_others(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny")
    manifest = json.loads((made.path / "manifest.json").read_text())
    del manifest["tasks"]["gqa"]
    (made.path / "manifest.json").write_text(json.dumps(manifest))

    _, out, _ = run("tasks", "--bundle", made.path)

    trained = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert (trained["task"], trained["gqa"], trained["vqa-v2"]) == ("trained", "no", "yes")


def test_info_counts_the_parameters_of_each_part(run, bundle):
    code, out, _ = run("info", bundle)

    rows = {re.split(r"  +", line)[0].strip(): line.split() for line in out.splitlines() if line}
    names = ("trunk: text", "trunk: image", "trunk: co-attention", "vqa head", "alignment head", "detector")
    parts = {part: int(rows[part][-1].replace(",", "")) for part in names}
    assert code == 0
    assert out.startswith("tiny 0, digest ")
    assert parts["alignment head"] == 16 + 1
    assert all(parts.values())
    assert rows["vqa head"][2:-1] == ["vqa-v2,", "vg-qa"]
    assert rows["not served"][-1] == "0"
    assert "dead" not in rows
    assert (rows["guesswhat"][1], rows["vqa"][1]) == ("17", "7")
    assert "model.safetensors" in out


def test_info_tells_what_no_task_reads_from_what_weighs_in_memory(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny", detector=False)
    save_file({"words.bias": torch.zeros(1000)}, made.path / "pretraining.safetensors")
    save_file({"bert.q_dense1.bias": torch.zeros(77)}, made.path / DEAD_FILE)
    known = {name: token for name, token in made.manifest.tasks.items() if name != "gqa"}
    seal(made.path, name="tiny", version="0", tasks=known)

    _, out, _ = run("info", made.path)

    rows = {re.split(r"  +", line)[0].strip(): line.split() for line in out.splitlines() if line}
    head, spare = (int(rows[part][-1].replace(",", "")) for part in ("gqa head", "pretraining"))
    live = int(rows["all that is read"][-1].replace(",", ""))
    assert spare == 1000
    assert rows["gqa head"][2:-1] == rows["pretraining"][1:-1] == ["no", "task"]
    idle = int(rows["not served"][-1].replace(",", ""))
    assert idle == head + spare
    assert rows["float32"][1:] == [f"{4 * live / 1e6:,.1f}", f"{4 * idle / 1e6:,.1f}"]
    assert rows["float16"][1:] == [f"{2 * live / 1e6:,.1f}", f"{2 * idle / 1e6:,.1f}"]
    assert [line.split() for line in out.splitlines() if line.startswith("dead  ")] == [["dead", "nothing", "77"]]


def test_info_calls_a_starting_point_not_served_and_says_what_it_weighs(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny", detector=False)
    seal(made.path, name="tiny", version="0", tasks={})

    code, out, _ = run("info", made.path)

    rows = {re.split(r"  +", line)[0].strip(): line.split() for line in out.splitlines() if line}
    every = sum(tensor.numel() for tensor in load_file(made.path / "model.safetensors").values())
    assert code == 0
    assert rows["not served"][-1] == f"{every:,}"
    assert rows["float32"][1:] == ["0.0", f"{4 * every / 1e6:,.1f}"]
    assert "dead" not in out


def test_info_says_that_the_operations_of_the_detector_are_not_counted(run, bundle):
    assert "finding the regions, which the detector does, is not in it" in run("info", bundle)[1]


@pytest.mark.parametrize("bytes_", [b"abc", b"\xff" * 8 + b"{"])
def test_info_says_which_file_of_weights_is_broken(run, tmp_path, bytes_):
    made = make_tiny_bundle(tmp_path / "tiny", detector=False)
    (made.path / "model.safetensors").write_bytes(bytes_)

    code, _, err = run("info", made.path)

    assert code == 2
    assert re.search(r"config-invalid: \S+model\.safetensors: .*; copy the bundle again", err)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "manifest.json: scores"),
        ({"a": 3}, "scores.a: Input should be a valid dictionary"),
        ({"a": {"gqa": {"score": "x"}}}, "scores.a.gqa.score: Input should be a valid number"),
    ],
)
def test_info_says_what_is_odd_among_the_scores(run, tmp_path, scores, said):
    made = make_tiny_bundle(tmp_path / "tiny", detector=False)
    manifest = json.loads((made.path / "manifest.json").read_text())
    (made.path / "manifest.json").write_text(json.dumps({**manifest, "scores": scores}))

    code, _, err = run("info", made.path)

    assert code == 2
    assert said in err


def test_info_shows_the_size_of_a_file_whose_entry_does_not_say_it(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny", detector=False)
    manifest = json.loads((made.path / "manifest.json").read_text())
    for entry in manifest["files"].values():
        del entry["bytes"]
    (made.path / "manifest.json").write_text(json.dumps(manifest))

    code, out, _ = run("info", made.path)

    size = (made.path / "vocab.txt").stat().st_size
    assert code == 0
    assert ["vocab.txt", f"{size / 1e6:.2f}"] in [line.split()[:2] for line in out.splitlines()]


def test_info_counts_the_operations_of_a_request_of_the_asked_size(run, bundle):
    short, long = (run("info", bundle, "--tokens", tokens, "--regions", "5")[1] for tokens in (4, 8))

    def giga(out: str) -> dict[str, list[float]]:
        rows = [line.split() for line in out.splitlines() if len(line.split()) == 7]
        found = {row[0]: row[3:] for row in rows if row[0] in TASKS and row[1] == str(TASKS[row[0]].token)}
        return {task: [float(figure) for figure in figures] for task, figures in found.items()}

    for task in TASKS:
        whole, text, pictures, pairs = giga(short)[task]
        assert whole == pytest.approx(text + pictures + pairs, rel=0.01)
        assert giga(long)[task][1] > 1.9 * text
        assert giga(long)[task][2] == pictures
    assert giga(short)["nlvr2"][2] == pytest.approx(2 * giga(short)["gqa"][2], rel=0.01)


def test_info_shows_the_scores_that_were_measured(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny")
    manifest = json.loads((made.path / "manifest.json").read_text())
    entry = {"items": 10, "score": 0.875, "chance": 0.1, "kinds": {}}
    manifest["scores"] = {"model": {"gqa": entry, "vqa-v2": entry}, "blind": {"gqa": {**entry, "score": 0.25}}}
    (made.path / "manifest.json").write_text(json.dumps(manifest))

    _, out, _ = run("info", made.path)

    assert ["score,", "%", "model", "blind"] in [line.split() for line in out.splitlines()]
    assert ["gqa", "87.5", "25.0"] in [line.split() for line in out.splitlines()]
    assert ["vqa-v2", "87.5"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("detector", [True, False])
def test_a_whole_bundle_passes_its_check(run, tmp_path, detector):
    code, out, err = run("check", make_tiny_bundle(tmp_path / "tiny", detector=detector).path)

    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[-1] == "fit to be served"
    assert [line.split(":")[0] for line in lines[2:-1]] == list(TASKS)


def test_a_changed_file_fails_the_check(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny")
    (made.path / "vocab.txt").write_text("changed")

    code, _, err = run("check", made.path)

    assert code == 2
    assert err.startswith(f"checksum-mismatch: {made.path}: vocab.txt has sha256")


def test_a_config_that_is_no_json_fails_the_check_with_a_sentence(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny")
    (made.path / "config.json").write_text("{")
    seal(made.path, name="tiny", version="0", tasks=made.manifest.tasks)

    code, _, err = run("check", made.path)

    assert code == 2
    assert err.startswith("config-invalid: ")
    assert "config.json: is no JSON (" in err


def test_weights_that_answer_with_no_numbers_fail_the_check(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny")
    weights = load_file(made.path / "model.safetensors")
    weights["heads.alignment.rate.bias"].fill_(float("nan"))
    save_file(weights, made.path / "model.safetensors")
    seal(made.path, name="tiny", version="0", tasks=made.manifest.tasks)

    code, _, err = run("check", made.path)

    assert code == 2
    assert "task 'coco-retrieval' does not answer its own example: the alignment head gave numbers that are none" in err


def test_a_task_that_nobody_knows_is_passed_over(run, tmp_path):
    made = make_tiny_bundle(tmp_path / "tiny")
    manifest = json.loads((made.path / "manifest.json").read_text())
    manifest["tasks"]["thirteenth"] = 20
    (made.path / "manifest.json").write_text(json.dumps(manifest))

    code, out, _ = run("check", made.path)

    assert code == 0
    assert "thirteenth: passed over, this library has no such task" in out


@pytest.mark.parametrize("command", [["info"], ["check"], ["ask", "gqa", "x"], ["index", "add", "index", "."]])
def test_a_folder_without_bundle_is_refused_with_code_2(run, command):
    code, _, err = run(*command)

    assert code == 2
    assert "bundle-missing: model_store/small holds no bundle" in err


def test_a_folder_is_indexed_and_searched(run, bundle, service, files):
    code, out, err = run("index", "add", "index", Path(files[0]).parent, "--bundle", bundle)
    assert code == 0, err
    assert out.splitlines()[-1] == "done=3 duplicate=0 rejected=0"

    code, out, err = run("index", "search", "index", "the red car", "-k", "3", "--bundle", bundle)

    assert code == 0, err
    best = expected("coco-retrieval", service)["answer"]
    assert out.splitlines()[0].split("\t")[1] == files[best]


def test_the_version_is_said(run):
    assert run("--version") == (0, f"twelve {__version__}\n", "")


def test_each_command_has_help(run):
    for command in ([], ["ask"], ["tasks"], ["info"], ["check"], ["regions"], ["index"]):
        code, out, _ = run(*command, "--help")
        assert code == 0
        assert "Usage: twelve" in out


def test_help_needs_no_torch():
    program = (
        "import sys\nfrom twelve.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'lancedb', 'httpx', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_a_library_that_is_not_installed_is_named_with_what_would_do(run, files, monkeypatch):
    monkeypatch.setitem(sys.modules, "twelve.tasks", None)

    code, _, err = run(*arguments("vqa-v2", files))

    assert code == 1
    assert err == "twelve.tasks is not installed; this command needs it: pip install 'twelve-in-one[serve]'\n"
