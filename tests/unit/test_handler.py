"""The adapter against TorchServe's own Python half: its context, its service and its frames; no Java, no mock."""

import json
import logging
import struct
from pathlib import Path
from typing import Any

import pytest
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.service import Service as Worker

from handlers import twelve_handler
from handlers.twelve_handler import PHRASES, TwelveHandler
from tests.bundles import make_tiny_bundle
from twelve import errors
from twelve.wire import Call, Reply

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "Multipart/Form-Data; boundary=x"}
SECTION = {"engine": "eager", "threads": 1, "cache": "cache", "max_response_bytes": 1000}


class Echo:
    """A service that tells what it was called with."""

    def answer_calls(self, calls: list[Call]) -> list[Reply]:
        return [Reply(200, self.answer(call), "vqa-v2") for call in calls]

    def answer(self, call: Call) -> bytes:
        body = call.body if isinstance(call.body, bytes) else {name: bytes(part) for name, part in call.body.items()}
        self.last = call
        return repr(body).encode()


class Broken:
    """A service that breaks its promise never to raise."""

    def answer_calls(self, calls: list[Call]) -> list[Reply]:
        raise RuntimeError("CUDA error, naïvely told\r\n")


class Verbose:
    """A service whose answer is longer than what may be sent, for bodies that say so."""

    def answer_calls(self, calls: list[Call]) -> list[Reply]:
        return [Reply(200, b"x" * (5000 if call.body == b"long" else 5), "vqa-v2") for call in calls]


def handler_of(service: Any) -> TwelveHandler:
    handler = TwelveHandler()
    handler._service = service
    handler._most_bytes = SECTION["max_response_bytes"]
    return handler


def context_of(*headers: dict[str, Any], model_dir: str = ".", section: dict[str, Any] | None = None) -> Context:
    made = Context("twelve", model_dir, {}, 8, None, "0.12.0", model_yaml_config={"handler": section or SECTION})
    made.request_processor = [RequestProcessor(one) for one in headers]
    made.request_ids = {place: f"request-{place}" for place in range(len(headers))}
    return made


def status(context: Context, place: int = 0) -> int:
    return context.get_response_status(place)[0]


def test_a_json_body_reaches_the_service_as_it_was_sent():
    context = context_of(JSON)
    assert handler_of(Echo()).handle([{"body": bytearray(b'{"a": 1')}], context) == [repr(b'{"a": 1').encode()]
    assert status(context) == 200
    assert context.get_response_content_type(0) == "application/json"


@pytest.mark.parametrize("parsed", [{"task": "vqa-v2"}, [1], "text", None, 5])
def test_json_that_torchserve_has_parsed_reaches_the_service_as_json(parsed):
    (answer,) = handler_of(Echo()).handle([{"body": parsed}], context_of(JSON))
    assert answer == repr(json.dumps(parsed).encode()).encode()


def test_a_form_reaches_the_service_as_its_fields():
    row = {"task": bytearray(b"vqa-v2"), "body": bytearray(b"a field of this name")}
    (answer,) = handler_of(Echo()).handle([row], context_of(FORM))
    assert answer == repr({"task": b"vqa-v2", "body": b"a field of this name"}).encode()


def test_a_form_that_a_proxy_calls_plain_bytes_reaches_the_service_as_it_was_sent():
    echo, kind = Echo(), "multipart/form-data; boundary=b"
    context = context_of({"Content-Type": "application/octet-stream", "X-Content-Type": kind})
    assert handler_of(echo).handle([{"body": bytearray(b"--b--")}], context) == [repr(b"--b--").encode()]
    assert echo.last.content_type == kind


def test_the_call_carries_id_and_headers_in_lower_case_without_those_of_parts():
    echo = Echo()
    handler_of(echo).handle(
        [{"body": b"x"}], context_of({**JSON, "X-Key": "k", "image": {"content-type": "image/png"}})
    )
    assert echo.last.request_id == "request-0"
    assert echo.last.headers == {"content-type": "application/json", "x-key": "k"}
    assert echo.last.received_s is not None


@pytest.mark.parametrize(
    ("sent", "named"),
    [("a-1._Z", "a-1._Z"), ("x" * 64, "x" * 64), ("x" * 65, "request-0"), ("", "request-0"), ('"}\n', "request-0")],
)
def test_a_request_bears_the_proxys_name_where_it_is_one(sent, named):
    echo = Echo()
    handler_of(echo).handle([{"body": b"x"}], context_of({**JSON, "X-Request-Id": sent}))
    assert echo.last.request_id == named


class Worried:
    """A service that logs something of a batch."""

    def answer_calls(self, calls: list[Call]) -> list[Reply]:
        logging.getLogger().warning("one of %d", len(calls))
        return [Reply(200, b"{}", None) for _ in calls]


def test_what_is_logged_during_a_batch_names_its_requests(caplog):
    handler = handler_of(Worried())
    caplog.handler.setFormatter(handler._lines)
    handler.handle([{"body": b"x"}], context_of({**JSON, "X-Request-Id": "a"}))
    assert json.loads(caplog.text)["requests"] == ["a"]


@pytest.mark.parametrize(
    ("row", "headers", "is_post"),
    [
        ({"body": b"{}"}, JSON, True),
        ({"body": b""}, JSON, True),
        ({"body": b"x"}, {}, True),
        ({"body": b""}, {}, False),
        ({}, {}, False),
    ],
)
def test_what_brings_neither_a_body_nor_its_type_is_no_post(row, headers, is_post):
    echo = Echo()
    handler_of(echo).handle([row], context_of(headers))
    assert (echo.last.method == "POST") == is_post


def test_a_service_that_raises_costs_every_request_an_error_of_its_own():
    context = context_of(JSON, FORM)
    bodies = handler_of(Broken()).handle([{"body": b"{}"}, {"task": b"x"}], context)
    problems = [json.loads(body)["error"] for body in bodies]
    assert [problem["code"] for problem in problems] == ["engine-failed"] * 2
    assert [problem["request"] for problem in problems] == ["request-0", "request-1"]
    assert [context.get_response_status(place) for place in range(2)] == [(500, "Internal Server Error")] * 2


def test_an_answer_that_is_too_long_becomes_an_error_and_spares_its_neighbour():
    context = context_of(JSON, JSON)
    long, short = handler_of(Verbose()).handle([{"body": b"long"}, {"body": b"short"}], context)
    assert json.loads(long)["error"]["message"] == "the answer has 5000 bytes, at most 1000 can be sent; ask for less"
    assert (status(context, 0), status(context, 1)) == (500, 200)
    assert short == b"xxxxx"


def error_classes(root: type[errors.TwelveError]) -> list[type[errors.TwelveError]]:
    return [root, *(found for child in root.__subclasses__() for found in error_classes(child))]


@pytest.mark.parametrize("kind", error_classes(errors.TwelveError))
def test_each_error_has_a_phrase_of_plain_ascii(kind):
    assert PHRASES[kind.status].isascii()
    assert PHRASES[kind.status].isprintable()


def test_a_worker_frames_all_answers_of_a_batch():
    handler = handler_of(Echo())
    metrics = MetricsCacheYamlImpl(
        config_file_path=str(Path(twelve_handler.torch.__file__).parents[1] / "ts/configs/metrics.yaml")
    )
    metrics.initialize_cache()
    worker = Worker("twelve", ".", {}, handler.handle, None, 8, metrics_cache=metrics)
    worker.set_cl_socket(None)
    headers = [{"name": b"Content-Type", "value": b"application/json"}]
    body = [{"name": "body", "contentType": "application/json", "value": bytearray(b"{}")}]
    batch = [{"requestId": f"r{place}".encode(), "headers": headers, "parameters": body} for place in range(3)]
    assert frames(worker.predict(batch)) == [(f"r{place}", 200, "OK", b"b'{}'") for place in range(3)]


def frames(message: bytes) -> list[tuple[str, int, str, bytes]]:
    """Read a worker's message as Java does: (request, status, phrase, body) each."""
    view = memoryview(message)

    def number() -> int:
        nonlocal view
        value, view = struct.unpack("!i", view[:4])[0], view[4:]
        return value

    def text() -> bytes:
        nonlocal view
        length = number()
        value, view = bytes(view[:length]), view[length:]
        return value

    assert number() == 200
    text()
    found = []
    while (length := number()) != -1:
        name, view = bytes(view[:length]).decode(), view[length:]
        text()
        code, phrase = number(), text().decode()
        for _ in range(number()):
            text(), text()
        found.append((name, code, phrase, text()))
    return found


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_tiny_bundle(folder / "bundle")
    return folder


def test_the_handler_opens_the_bundle_of_its_model_directory(model_dir):
    handler, context = TwelveHandler(), context_of(JSON, model_dir=str(model_dir))
    handler.initialize(context)
    (answer,) = handler.handle([{"body": b'{"task": "none"}'}], context)
    assert json.loads(answer)["error"]["code"] == "unknown-task"
    assert status(context) == 404


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({**SECTION, "engine": "steam"}, "engine: there is no 'steam'"),
        ({**SECTION, "engine": "onnxruntime"}, "holds no exported graphs"),
        ({**SECTION, "colour": "red"}, "colour"),
        ({**SECTION, "stores": ["nowhere"]}, "there is no feature store here"),
        ({"engine": "eager", "max_response_bytes": 1}, "cache"),
        ({**SECTION, "limits": {"max_mood": 3}}, "max_mood"),
    ],
)
def test_what_cannot_be_served_ends_the_worker_with_a_sentence(model_dir, capfd, section, sentence):
    with pytest.raises(SystemExit) as ended:
        TwelveHandler().initialize(context_of(model_dir=str(model_dir), section=section))
    assert ended.value.code == 2
    told = capfd.readouterr().err
    assert told.startswith("refuses to start: ")
    assert sentence in told
