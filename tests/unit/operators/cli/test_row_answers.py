"""From answers of whole requests to lines of single rows: what is refused is asked again in halves."""

import numpy as np
import pytest

from operators.cli.models.row_answers import answer_rows, is_by_row
from operators.cli.models.rows import Chunk
from serving.audit.record import NotRecorded
from serving.errors import BadRequest
from serving.messages import InferAnswer, Tensor
from serving.models.manifest import Manifest


def manifest(*outputs, inputs=(-1,)):
    return Manifest.model_validate(
        {
            "name": "m", "version": "1", "files": {}, "inputs": [{"name": "x", "datatype": "INT64", "shape": inputs}],
            "outputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in outputs],
        }
    )  # fmt: skip


class Asked:
    """Answers by a function of the x that were sent; keeps how many rows each request had."""

    def __init__(self, answer):
        self.answer, self.rows = answer, []

    async def infer(self, request):
        (tensor,) = request.inputs
        self.rows.append(len(tensor.data))
        return InferAnswer("m", "1", tuple(self.answer(tensor.data)), parameters={"receipt": "r"})


def chunk(*xs, rejected=()):
    return Chunk((Tensor("x", "INT64", np.array(xs)),), tuple(range(len(xs))), {}, rejected)


SUM = manifest(("y", "INT64", (-1,)))


async def test_one_request_where_all_is_well():
    asked = Asked(lambda x: [Tensor("y", "INT64", x + 1)])
    lines = await answer_rows(asked, SUM, {}, chunk(1, 2, 3, rejected=((3, "odd"),)))
    assert [line.body() for line in lines] == [
        *({"row": i, "y": i + 2, "receipt": "r"} for i in range(3)),
        {"row": 3, "error": "odd"},
    ]
    assert asked.rows == [3]


async def test_a_log_that_takes_no_record_ends_the_run_at_once():
    def answer(x):
        raise NotRecorded("no space")

    asked = Asked(answer)
    with pytest.raises(NotRecorded):
        await answer_rows(asked, SUM, {}, chunk(*range(64)))
    assert asked.rows == [64]


async def test_a_row_that_is_refused_costs_the_others_nothing():
    def answer(x):
        if (x == 13).any():
            raise BadRequest("no 13")
        return [Tensor("y", "INT64", x)]

    asked = Asked(answer)
    lines = await answer_rows(asked, SUM, {}, chunk(*range(64)))
    assert [line.values.get("y", line.error) for line in lines] == [*range(13), "no 13", *range(14, 64)]
    assert len(asked.rows) == 1 + 2 * 6


async def test_rows_that_a_model_drops_are_set_aside_and_no_other_gets_their_answer():
    lines = await answer_rows(Asked(lambda x: [Tensor("y", "INT64", x[x % 3 != 0])]), SUM, {}, chunk(*range(7)))
    assert [line.values.get("y") for line in lines] == [None, 1, 2, None, 4, 5, None]
    assert all("dropped or added rows" in (line.error or "dropped or added rows") for line in lines)


@pytest.mark.parametrize(
    ("output", "data", "line"),
    [
        pytest.param(("y", "BYTES", (-1, 2)), np.array([[b"a", b"\xff"]], object), ["a", "\ufffd"], id="texts of a row"),
        pytest.param(("y", "INT64", ()), np.array(7), 7, id="a number for the whole request"),
        pytest.param(("y", "BYTES", (3,)), np.array([b"a", b"b", b"c"], object), ["a", "b", "c"], id="names of the classes"),
        pytest.param(("y", "INT64", (1, 2)), np.array([[1, 2]]), [1, 2], id="a graph for one row"),
        pytest.param(("row", "INT64", (-1,)), np.array([9]), 0, id="an output called row does not take the number's place"),
    ],
)
async def test_outputs_of_every_shape_come_to_lines(output, data, line):
    asked = Asked(lambda x: [Tensor(output[0], output[1], data)])
    (found,) = await answer_rows(asked, manifest(output), {}, chunk(1))
    assert found.body()[output[0]] == line


async def test_an_output_called_error_is_an_answer():
    (line,) = await answer_rows(
        Asked(lambda x: [Tensor("error", "INT64", x)]), manifest(("error", "INT64", (-1,))), {}, chunk(1)
    )
    assert line.error is None


def test_a_graph_whose_tensors_have_no_rows_is_asked_row_by_row():
    assert is_by_row(SUM)
    assert not is_by_row(manifest(("y", "INT64", (-1,)), ("classes", "BYTES", (3,))))
    assert not is_by_row(manifest(("y", "INT64", (1,)), inputs=(1,)))
