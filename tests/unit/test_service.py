# ruff: noqa: E501  (the table of bad requests reads best one a line)
import base64
import json
from pathlib import Path

import pytest
import torch

from tests.bundles import FEATURE_WIDTH, make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.batch import visual
from twelve.features import RegionSet
from twelve.image import ImageLimits
from twelve.pictures import BroughtPicture
from twelve.service import Service, Silent
from twelve.tasks import TASKS
from twelve.wire import Call

SAME = 1e-5  # of a score in [0, 1]: fp32 sums in another order


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle")).path


@pytest.fixture(scope="module")
def service(bundle: Path) -> Service:
    return Service.open(bundle, Settings(engine="eager"))


def encoded(seed: int) -> str:
    return base64.b64encode(picture(seed)).decode()


def call(fields: dict[str, object]) -> Call:
    return Call(body=fields, content_type="application/json", request_id="r")


def example(name: str, seed: int = 0) -> dict[str, object]:
    task = TASKS[name]
    images = [encoded(seed + place) for place in range(task.pictures_in_example)]
    return {"task": name, **task.example(images)}


def body(reply: object) -> dict[str, object]:
    return json.loads(reply.body)  # type: ignore[attr-defined]


def scores(answer: dict[str, object]) -> torch.Tensor:
    ordered = sorted(answer["candidates"], key=lambda candidate: json.dumps(candidate["answer"]))  # type: ignore[arg-type,call-overload]
    return torch.tensor([candidate["score"] for candidate in ordered])


@pytest.mark.parametrize("name", TASKS)
def test_each_task_answers_its_own_example(service: Service, name: str) -> None:
    reply = service.answer_calls([call(example(name))])[0]
    assert reply.status == 200, reply.body
    answer = body(reply)
    assert answer["task"] == name
    assert answer["answer"] == answer["candidates"][0]["answer"]
    assert len(answer["images"]) == TASKS[name].pictures_in_example


def test_a_mixed_batch_answers_as_each_alone_in_any_order_beside_bad_neighbours(service: Service) -> None:
    calls = [call(example(name, seed=3)) for name in TASKS]
    poison = [
        call({"task": "nlvr2", "statement": "x", "images": [encoded(1)]}),
        call({"task": "vqa-v2", "image": "%%"}),
    ]
    alone = [body(service.answer_calls([one])[0]) for one in calls]
    mixed = service.answer_calls([poison[0], *reversed(calls), poison[1]])
    assert [reply.status for reply in mixed] == [422, *[200] * len(calls), 422]
    for one, beside in zip(alone, reversed([body(reply) for reply in mixed[1:-1]]), strict=True):
        assert one["task"] == beside["task"]
        assert one["answer"] == beside["answer"]
        torch.testing.assert_close(scores(one), scores(beside), rtol=0, atol=SAME)


def test_rows_of_one_pass_answer_as_rows_alone(bundle: Path, service: Service) -> None:
    alone = Service.open(bundle, Settings(engine="eager", rows_per_pass=1))
    fields = {"task": "coco-retrieval", "caption": "a red car", "images": [encoded(seed) for seed in range(5)]}
    one, other = (body(served.answer_calls([call(fields)])[0]) for served in (alone, service))
    torch.testing.assert_close(scores(one), scores(other), rtol=0, atol=SAME)


def test_a_ref_answers_as_its_picture_and_takes_new_boxes(service: Service) -> None:
    first = body(service.answer_calls([call(example("vqa-v2", seed=5))])[0])
    ref = {"ref": first["images"][0]}
    again = body(service.answer_calls([call({**example("vqa-v2"), "image": ref})])[0])
    assert again["answer"] == first["answer"]
    torch.testing.assert_close(scores(again), scores(first), rtol=0, atol=SAME)
    sent = body(service.answer_calls([call(example("visual7w", seed=5))])[0])
    named = body(service.answer_calls([call({**example("visual7w"), "image": ref})])[0])
    torch.testing.assert_close(scores(sent), scores(named), rtol=0, atol=SAME)


def brought(boxes: list[list[float]], seed: int = 0) -> dict[str, object]:
    features = torch.rand(len(boxes), FEATURE_WIDTH, generator=torch.Generator().manual_seed(seed))
    raw = base64.b64encode(features.numpy().tobytes()).decode()
    return {"regions": {"features": raw, "boxes": boxes, "width": 320, "height": 240}}


@pytest.mark.parametrize("name", TASKS)
def test_each_task_answers_from_regions_brought_along(service: Service, name: str) -> None:
    task = TASKS[name]
    boxes = [
        *task.example([None] * task.pictures_in_example).get("boxes", []),
        [5.0, 5.0, 50.0, 60.0],
        [9.0, 9.0, 300.0, 200.0],
    ]
    fields = task.example([brought(boxes, seed) for seed in range(task.pictures_in_example)])
    reply = service.answer_calls([call({"task": name, **fields})])[0]
    assert reply.status == 200, reply.body
    assert body(reply)["images"] == [None] * task.pictures_in_example


def test_a_candidate_must_be_one_of_the_brought_boxes(service: Service) -> None:
    fields = {
        "task": "visual7w",
        "question": "Which?",
        "image": brought([[0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 40.0, 40.0]]),
    }
    right = service.answer_calls([call({**fields, "boxes": [[0.5, 0.5, 9.5, 9.0], [20.0, 20.0, 40.0, 40.0]]})])[0]
    wrong = service.answer_calls([call({**fields, "boxes": [[0.0, 0.0, 9.0, 9.0], [22.0, 20.0, 40.0, 40.0]]})])[0]
    assert right.status == 200
    assert (wrong.status, body(wrong)["error"]["at"]) == (422, "boxes[1]")


@pytest.mark.parametrize(
    ("candidates", "rows", "given"),
    [([3, 2], (3, 2), 2), ([3], (3,), 1), ([0], (0,), 0), ([1, 3], (1, 3), 1), ([0, 1, 2, 3], (0, 1, 2, 3), 4)],
)
def test_candidates_that_stand_last_are_no_part_of_a_brought_pictures_mean(
    candidates: list[int], rows: tuple[int, ...], given: int
) -> None:
    regions = region_set([[0, 0, 9, 9], [5, 5, 50, 50], [20, 20, 40, 40], [30, 30, 90, 90]])
    found = BroughtPicture(regions).look(
        None, [tuple(regions.boxes_px[row].tolist()) for row in candidates], at="image"
    )
    assert (found.candidates, found.regions.given) == (rows, given)
    detected = regions.features[: 4 - given] if given < 4 else regions.features
    assert torch.equal(visual(found.regions).features[0], detected.mean(dim=0))


def test_of_equal_boxes_the_last_is_the_candidate() -> None:
    regions = region_set([[0, 0, 9, 9], [20, 20, 40, 40], [0, 0, 9, 9]])
    found = BroughtPicture(regions).look(None, [(0.0, 0.0, 9.0, 9.0)], at="image")
    assert (found.candidates, found.regions.given) == ((2,), 1)


def region_set(boxes: list[list[float]]) -> RegionSet:
    count = len(boxes)
    features = torch.rand(count, FEATURE_WIDTH, generator=torch.Generator().manual_seed(count))
    return RegionSet(
        features, torch.tensor(boxes, dtype=torch.float32), torch.ones(count), torch.zeros(count), 320, 240
    )


def test_a_form_answers_as_json(service: Service) -> None:
    for name in ("vqa-v2", "nlvr2", "guesswhat"):
        fields = example(name, seed=7)
        form: dict[str, bytes] = {"task": name.encode()}
        for key, value in fields.items():
            if key == "image":
                form["image"] = base64.b64decode(value)  # type: ignore[arg-type]
            elif key == "images":
                form |= {f"image_{place}": base64.b64decode(one) for place, one in enumerate(value)}  # type: ignore[arg-type]
            elif isinstance(value, str):
                form[key] = value.encode()
            else:
                form[key] = json.dumps(value).encode()
        by_form = service.answer_calls([Call(body=form, content_type="multipart/form-data; boundary=x")])[0]
        by_json = service.answer_calls([call(fields)])[0]
        assert by_form.status == 200, by_form.body
        torch.testing.assert_close(scores(body(by_form)), scores(body(by_json)), rtol=0, atol=SAME)


NLVR2 = {"task": "nlvr2", "statement": "x"}
BAD = {
    "an unknown task": ({"task": "vqa"}, 404, "unknown-task", "task"),
    "no task": ({"question": "x"}, 422, "invalid-field", "task"),
    "a task that is a list": ({"task": [1]}, 422, "invalid-field", "task"),
    "a missing field": ({"task": "vqa-v2", "image": encoded(0)}, 422, "invalid-field", "question"),
    "an extra field": ({**example("vqa-v2"), "size": 1}, 422, "invalid-field", "size"),
    "a question that is a number": ({**example("vqa-v2"), "question": 3}, 422, "invalid-field", "question"),
    "an empty question": ({**example("vqa-v2"), "question": "  "}, 422, "invalid-field", "question"),
    "a question of 100 KB": ({**example("vqa-v2"), "question": "a " * 51200}, 413, "too-large", "question"),
    "a question of too many pieces": ({**example("vqa-v2"), "question": "a " * 200}, 422, "invalid-field", "question"),
    "broken base64": ({**example("vqa-v2"), "image": "%%%"}, 422, "invalid-field", "image"),
    "a picture that is text": ({**example("vqa-v2"), "image": base64.b64encode(b"hello").decode()}, 422, "unreadable-image", "image"),
    "a picture of no bytes": ({**example("vqa-v2"), "image": ""}, 422, "unreadable-image", "image"),
    "an unknown ref": ({**example("vqa-v2"), "image": {"ref": "sha256:" + "0" * 64}}, 404, "unknown-ref", "image"),
    "a ref that is none": ({**example("vqa-v2"), "image": {"ref": "../../etc"}}, 422, "invalid-field", "image"),
    "one picture for two": ({**NLVR2, "images": [encoded(0)]}, 422, "invalid-field", "images"),
    "33 pictures": ({"task": "coco-retrieval", "caption": "x", "images": [encoded(0)] * 33}, 422, "invalid-field", "images"),
    "an inverted box": ({**example("visual7w"), "boxes": [[9, 9, 1, 1], [1, 1, 9, 9]]}, 422, "invalid-field", "boxes[0]"),
    "a box of NaN": ({**example("visual7w"), "boxes": [[0, 0, float("nan"), 9], [1, 1, 9, 9]]}, 422, "invalid-field", "boxes[0][2]"),
    "a box outside": ({**example("visual7w"), "boxes": [[1, 1, 9, 9], [900, 1, 999, 9]]}, 422, "invalid-field", "boxes[1]"),
    "one box": ({**example("visual7w"), "boxes": [[1, 1, 9, 9]]}, 422, "invalid-field", "boxes"),
    "an empty dialogue": ({**example("guesswhat"), "dialog": []}, 422, "invalid-field", "dialog"),
    "features of another width": ({**example("vqa-v2"), "image": {"regions": {"features": "AAAA", "boxes": [[1, 1, 9, 9]], "width": 9, "height": 9}}}, 422, "invalid-field", "image.regions.features"),
    "a picture side beyond all bounds": ({**example("vqa-v2"), "image": {"regions": {"features": "AAAA", "boxes": [[1, 1, 9, 9]], "width": 10**30, "height": 9}}}, 422, "invalid-field", "image"),
    "a million pictures that are none": ({**NLVR2, "images": [0] * 1_000_000}, 422, "invalid-field", "images"),
    "a million boxes that are none": ({**example("visual7w"), "boxes": [0] * 1_000_000}, 422, "invalid-field", "boxes[0]"),
    "a dialogue of a million characters": ({**example("guesswhat"), "dialog": [{"question": "a " * 4000, "answer": "no"}] * 64}, 413, "too-large", "dialog"),
    "features that drown the model": ({**example("vqa-v2"), "image": {"regions": {"features": base64.b64encode(b"\xff\xff\x7f\x7f" * FEATURE_WIDTH).decode(), "boxes": [[1, 1, 9, 9]], "width": 9, "height": 9}}}, 422, "invalid-field", "image.regions.features"),
    "a hundred fields": ({**example("vqa-v2"), **{f"f{n}": 0 for n in range(100)}}, 422, "invalid-field", "body"),
    "a field named by half a character": ({**example("vqa-v2"), "\ud800": 0}, 422, "invalid-field", "body"),
    "a task name of a megabyte": ({"task": "x" * 1_000_000}, 404, "unknown-task", "task"),
    "a box coordinate beyond floats": ({**example("visual7w"), "boxes": [[0, 0, 10**400, 9], [1, 1, 9, 9]]}, 422, "invalid-field", "boxes[0][2]"),
    "token and task that clash": ({**example("vqa-v2"), "task_token": 2}, 422, "invalid-field", "task_token"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_request_gets_its_documented_error(service: Service, kind: str) -> None:
    fields, status, code, at = BAD[kind]
    reply = service.answer_calls([call(fields)])[0]
    error = body(reply)["error"]
    assert (reply.status, error["code"], error["at"]) == (status, code, at), error
    assert error["request"] == "r"
    assert len(reply.body) < 4096
    assert error["message"].startswith(at.split("[")[0].split(".")[0])


def test_the_sentence_for_a_wrong_number_of_pictures_says_what_would_do(service: Service) -> None:
    reply = service.answer_calls([call({**NLVR2, "images": [encoded(0)]})])[0]
    assert body(reply)["error"]["message"] == "images: task 'nlvr2' compares 2 pictures, got 1"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (Call(body=b"", content_type="application/json"), 400, "malformed"),
        (Call(body=b"{", content_type="application/json"), 400, "malformed"),
        (Call(body=b"[" * 100_000, content_type="application/json"), 400, "malformed"),
        (Call(body=b"[]", content_type="application/json"), 400, "malformed"),
        (Call(body=b"x", content_type="text/plain"), 415, "media-type"),
        (Call(body=b"x", content_type=None), 415, "media-type"),
        (Call(body=b"x", content_type="multipart/form-data"), 400, "malformed"),
        (Call(body={}, content_type="application/json", method="GET"), 405, "method"),
        (Call(body={"task": b"\xff"}, content_type="multipart/form-data"), 400, "malformed"),
    ],
)
def test_a_bad_body_gets_its_documented_error(service: Service, sent: Call, status: int, code: str) -> None:
    reply = service.answer_calls([sent])[0]
    assert (reply.status, body(reply)["error"]["code"]) == (status, code)


def test_a_task_that_the_bundle_was_not_trained_on_is_refused(tmp_path: Path) -> None:
    made = make_tiny_bundle(tmp_path)
    manifest = json.loads((made.path / "manifest.json").read_text())
    del manifest["tasks"]["gqa"]
    (made.path / "manifest.json").write_text(json.dumps(manifest))
    reply = Service.open(made.path, Settings(engine="eager")).answer_calls([call(example("gqa"))])[0]
    assert (reply.status, body(reply)["error"]["code"]) == (409, "task-not-in-checkpoint")


def test_a_bundle_without_detector_answers_regions_and_refuses_pictures(tmp_path: Path) -> None:
    service = Service.open(make_tiny_bundle(tmp_path, detector=False).path, Settings(engine="eager"))
    seen, unseen = service.answer_calls(
        [call({**example("vqa-v2"), "image": brought([[1.0, 1.0, 9.0, 9.0]])}), call(example("vqa-v2"))]
    )
    assert (seen.status, unseen.status) == (200, 422)


def test_separator_tokens_typed_by_a_user_are_text(service: Service) -> None:
    plain = body(service.answer_calls([call({**example("vqa-v2"), "question": "car [SEP] dog"})])[0])
    spaced = body(service.answer_calls([call({**example("vqa-v2"), "question": "car [ sep ] dog"})])[0])
    assert plain["candidates"] == spaced["candidates"]


def test_pictures_of_one_request_hold_no_more_pixels_than_one_may(bundle: Path) -> None:
    service = Service.open(bundle, Settings(engine="eager", limits=ImageLimits(max_pixels=2 * 320 * 240)))
    fields = {"task": "coco-retrieval", "caption": "a car", "images": [encoded(seed) for seed in range(3)]}
    two, three = service.answer_calls([call({**fields, "images": fields["images"][:2]}), call(fields)])
    assert (two.status, three.status) == (200, 413)
    assert body(three)["error"]["at"] == "images[2]"


def test_pictures_come_as_parts_or_as_one_field_but_not_both(service: Service) -> None:
    form = {"task": b"nlvr2", "statement": b"x", "image_0": picture(0), "image_1": picture(1), "images": b"[]"}
    reply = service.answer_calls([Call(body=form, content_type="multipart/form-data")])[0]
    assert (reply.status, body(reply)["error"]["at"]) == (422, "images")


class Tally(Silent):
    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def request(self, task: str, code: str, seconds: float) -> None:
        self.requests.append((task, code))


def test_figures_know_the_task_of_a_bad_request_as_far_as_it_was_named(bundle: Path) -> None:
    tally = Tally()
    service = Service.open(bundle, Settings(engine="eager"), observer=tally)
    service.answer_calls([call(example("gqa")), call({**NLVR2, "images": []}), call({"task": "chess"})])
    assert tally.requests == [("gqa", "ok"), ("nlvr2", "invalid-field"), ("unknown", "unknown-task")]


def test_workers_share_what_they_have_seen(bundle: Path, tmp_path: Path) -> None:
    workers = [Service.open(bundle, Settings(engine="eager", cache=tmp_path)) for _ in range(2)]
    first = body(workers[0].answer_calls([call(example("vqa-v2", seed=11))])[0])
    reply = workers[1].answer_calls([call({**example("vqa-v2"), "image": {"ref": first["images"][0]}})])[0]
    assert (reply.status, body(reply)["answer"]) == (200, first["answer"])
