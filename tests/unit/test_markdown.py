from tests.markdown import anchors, blocks, links, run

PAGE = """# A `page`, in short

See [there](docs/there.md#part "title"), ![a picture](a.png) and `[not](this.md)`.

```sh
echo one
```

<!-- not run: takes hours -->
```sh
exit 1
```

<!-- run with a server -->
```python
print("http://localhost:8080")
```

```json
{"no": "command"}
```
"""


def test_blocks_are_found_with_what_stands_above_them():
    plain, left_out, served = blocks(PAGE)
    assert (plain.body, plain.line, plain.reason, plain.with_server) == ("echo one\n", 5, None, False)
    assert left_out.reason == "takes hours"
    assert served.with_server


def test_a_block_left_out_without_a_reason_runs():
    (block,) = blocks("<!-- not run: -->\n```sh\nexit 3\n```\n")
    assert block.reason is None
    assert run(block).returncode == 3


def test_a_block_runs_with_addresses_replaced():
    served = blocks(PAGE)[2]
    assert run(served, replacing={"localhost:8080": "localhost:9"}).stdout == "http://localhost:9\n"


def test_a_failing_command_in_the_middle_fails_the_block():
    (block,) = blocks("```sh\nfalse\necho fine\n```\n")
    assert run(block).returncode == 1


def test_links_in_code_do_not_count():
    assert links(PAGE) == ["docs/there.md#part", "a.png"]


def test_headings_give_anchors():
    assert anchors(PAGE) == {"a-page-in-short"}
