"""Some hundred hostile bodies through nginx to the workers; `make prove-hostile` asks many more."""

from itertools import islice

import pytest

from benchmarks.hostile_bodies import hostile_bodies
from benchmarks.hostile_replies import fault_of
from tests.integration.ways import Way

BODIES = 300


@pytest.mark.integration
@pytest.mark.edge
def test_hundreds_of_hostile_bodies_get_the_callers_errors_and_end_no_worker(nginx: Way) -> None:
    before, faults = nginx.processes(), []
    for seed, body in enumerate(islice(hostile_bodies(seed=0), BODIES)):
        reply = nginx.client.post(nginx.url, content=body.data, headers={"Content-Type": body.content_type})
        if fault := fault_of(reply.status_code, reply.content):
            faults.append((seed, fault))
    assert faults == []
    assert nginx.processes() == before
