"""`twelve ask`: one question, answered by a server or in this process."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twelve.cli.files import keep
from twelve.cli.options import DEFAULT_BUNDLE, BundleOption, DrawOption, EngineOption, JsonOption

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.client import Client

TIMEOUT_S = 60.0


def ask(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name; `twelve tasks` lists them.")],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The question, caption, expression or statement.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image", "-i", metavar="PATH", help="A picture's file, or the ref of one sent before; repeat it."
        ),
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option("--box", metavar="X1,Y1,X2,Y2", help="A candidate box in pixels; repeat it.")
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option("--boxes", metavar="JSON", help="Candidate boxes: a JSON list of lists of four numbers."),
    ] = None,
    dialog: Annotated[
        list[str] | None,
        typer.Option("--dialog", metavar="QUESTION=ANSWER", help="A turn of a dialogue; repeat it."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="Ask this server; else the bundle answers in this process."),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For a server's answer.")
    ] = TIMEOUT_S,
    bundle: BundleOption = None,
    engine: EngineOption = None,
    draw: DrawOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask about pictures.

    twelve ask vqa-v2 --image p.jpg "What color is the car?"

    twelve ask guesswhat --image p.jpg --box 20,40,120,140 --box 150,60,260,200 --dialog "Is it a car?=Yes"
    """
    from twelve.cli import show, sketch
    from twelve.cli.question import Question, fields_of, read_boxes, read_dialog
    from twelve.tasks import find

    if server is not None and (bundle is not None or engine is not None):
        raise typer.BadParameter("a server has its own bundle and engine; leave out --bundle and --engine, or --server")
    asked = find(task)
    question = Question(asked.name, text, tuple(image or ()), read_boxes(boxes, box or ()), read_dialog(dialog or ()))
    pictures = question.pictures()
    with closing(_client(server, timeout_s, bundle or DEFAULT_BUNDLE, engine)) as client:
        answer = client.ask(asked.name, **fields_of(question, asked, pictures))
    show.show_json(answer) if as_json else show.show(question, answer)
    if draw is not None:
        keep(sketch.sketch(question, pictures, answer), draw)


def _client(server: str | None, timeout_s: float, bundle: Path, engine: str | None) -> "Client":
    from twelve.client import Client

    if server is not None:
        return Client(server, timeout_s=timeout_s)
    from twelve.cli.options import settings_for
    from twelve.local import client_of
    from twelve.service import Service

    return client_of(Service.open(bundle, settings_for(bundle, engine)))
