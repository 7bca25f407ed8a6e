"""A user's module as a program: what it answers, and that the module is left as it was."""

import io
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.events import TensorForm
from sweeper.training.export import export_module


class Net(nn.Sequential):
    """Answers otherwise in training mode, and draws random numbers there."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))


class Words(nn.Module):
    """Takes tensors by name and answers as those of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(50, 6)
        self.last = nn.Linear(6, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Any = None
    ) -> OrderedDict[str, Any]:
        states = self.embedding(input_ids)
        answers: dict[str, Any] = {"logits": self.last(states), "hidden_states": None}
        if attention_mask is not None:
            answers["pooled"] = states * attention_mask.float().mean(1, keepdim=True)
        return OrderedDict(answers)


def loaded(module: nn.Module, example: object) -> Any:
    """The program, from a file, as a module."""
    file = io.BytesIO()
    torch.export.save(export_module(module, example).program, file)
    file.seek(0)
    return torch.export.load(file).module()


@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_a_program_answers_as_the_module_does_in_eval_mode_for_any_number_of_rows(
    n_rows: int,
) -> None:
    net = Net()
    net(torch.randn(16, 4))
    program = loaded(net, torch.randn(n_rows, 4))
    net.eval()
    for rows in (1, 2, 7):
        inputs = torch.randn(rows, 4)
        torch.testing.assert_close(program(inputs), net(inputs))


def test_a_module_is_left_in_its_modes_and_draws_what_it_would_have_drawn() -> None:
    net = Net()
    net[1].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(1)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    export_module(net, torch.ones(2, 4))
    assert torch.equal(torch.rand(3), drawn)
    assert [part.training for part in net.modules()] == [True, True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_no_row_of_the_example_lies_in_the_program() -> None:
    example = torch.full((2, 4), 123.0)
    given, named = export_module(Net(), example).program.example_inputs
    assert named == {}
    assert torch.equal(given[0], torch.zeros(2, 4))


def test_tensors_are_taken_and_answered_by_name() -> None:
    net = Words()
    example = {
        "input_ids": torch.randint(50, (2, 5)),
        "attention_mask": torch.ones(2, 5, dtype=torch.int64),
    }
    exported = export_module(net, example)
    assert exported.inputs == (
        TensorForm("input_ids", "int64", (5,)),
        TensorForm("attention_mask", "int64", (5,)),
    )
    assert exported.outputs == (
        TensorForm("logits", "float32", (2,)),
        TensorForm("pooled", "float32", (6,)),
    )
    rows = {name: tensor[:1].repeat(3, 1) for name, tensor in example.items()}
    answers = exported.program.module()(*rows.values())
    torch.testing.assert_close(answers["pooled"], net.eval()(**rows)["pooled"])


def test_a_single_tensor_among_the_answers_is_the_answer() -> None:
    exported = export_module(Words(), {"input_ids": torch.ones(2, 5, dtype=torch.int64)})
    assert exported.outputs == (TensorForm("", "float32", (2,)),)


class Pair(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return left + right, left.bfloat16(), right.mean()


def test_tensors_are_taken_and_answered_in_a_row() -> None:
    exported = export_module(Pair(), (torch.ones(4, 2), torch.ones(4, 2)))
    assert [form.name for form in exported.inputs] == ["input_0", "input_1"]
    assert exported.outputs == (
        TensorForm("output_0", "float32", (2,)),
        TensorForm("output_1", "float32", (2,)),
    )


def test_what_runs_a_program_is_pinned() -> None:
    [torch_itself] = export_module(nn.Linear(4, 1), torch.ones(2, 4)).packages
    assert torch_itself == f"torch=={torch.__version__.partition('+')[0]}"


@pytest.mark.parametrize(
    "example",
    [None, [], torch.ones(()), torch.ones(0, 4), [1.0, 2.0], (torch.ones(2), torch.ones(3))],
    ids=repr,
)
def test_an_example_must_be_a_batch(example: object) -> None:
    with pytest.raises(TrainingError, match="the example must be a batch: a tensor, a tuple of"):
        export_module(nn.Linear(4, 1), example)


class Answering(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, inputs: Tensor) -> Any:
        return self.answer(inputs)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda inputs: "yes", "it answers with a str, where a tensor, or tensors by name"),
        (lambda inputs: (None,), "it answers with a dict, where a tensor"),
        (lambda inputs: inputs.repeat(2, 1), "have not a row for each row of the example"),
    ],
)
def test_answers_must_be_tensors_with_a_row_for_each_row(answer: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        export_module(Answering(answer), torch.ones(2, 4))
