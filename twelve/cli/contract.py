"""`twelve openapi`: the HTTP contract for programs."""

import json

import typer


def openapi() -> None:
    """Print the HTTP contract as an OpenAPI 3.1 document; docs/openapi.json is what this prints."""
    from twelve.openapi import document

    typer.echo(json.dumps(document(), indent=1, ensure_ascii=True))
