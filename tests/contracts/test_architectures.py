"""Every built-in architecture x every form of samples: taken exactly, or refused by name."""

from typing import get_args

import pytest
import torch
from torch import nn

from sweeper.config.settings import ModelConfig
from sweeper.errors import DataError
from sweeper.models.build import (
    BUILDERS,
    build_for,
    check_model,
    torch_dtype,
)
from sweeper.models.forms import TAKES, Form, check_inputs
from tests.support.architecture_samples import DATA, SMALL, TAKEN, samples


def built(architecture: str, form: Form) -> nn.Module:
    torch.manual_seed(1)
    return build_for(
        ModelConfig(architecture=architecture, params=SMALL[architecture]), DATA[form]
    )


def test_all_is_said_of_every_architecture() -> None:
    assert TAKES.keys() == BUILDERS.keys()
    assert DATA.keys() == set(get_args(Form))
    assert SMALL.keys() == {*BUILDERS, "resnet18"}


@pytest.mark.parametrize(("architecture", "form"), TAKEN)
def test_what_is_taken_is_trained_on(architecture: str, form: Form) -> None:
    check_inputs(architecture, DATA[form])
    model = built(architecture, form)
    check_model(model, DATA[form].input_shape, 3, torch_dtype(DATA[form].input_dtype))
    outputs = model.train()(samples(form, 7))
    assert outputs.shape == (7, 3)
    nn.functional.cross_entropy(outputs, torch.arange(7) % 3).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("architecture", "form"),
    [(name, form) for name in SMALL for form in DATA if form not in TAKES.get(name, ("images",))],
)
def test_what_is_not_taken_is_refused_with_what_fits(architecture: str, form: Form) -> None:
    with pytest.raises(DataError) as caught:
        check_inputs(architecture, DATA[form])
    message = str(caught.value)
    assert message.startswith(f"model.architecture: {architecture} takes ")
    assert f"and mine is {form}; take " in message
    assert message.endswith(", or a model of your own")
    fitting = message.partition("; take ")[2].removesuffix(", or a model of your own").split(", ")
    assert fitting == [name for name, forms in TAKES.items() if form in forms]


LENGTHS = [(name, form) for name, form in TAKEN if form in ("text", "frames")]


@pytest.mark.parametrize(("architecture", "form"), LENGTHS)
def test_an_answer_does_not_depend_on_padding(architecture: str, form: Form) -> None:
    model, rows = built(architecture, form).eval(), samples(form, 7)
    lengths = [DATA[form].input_shape[-1]] + [
        1 + row * 5 % DATA[form].input_shape[-1] for row in range(1, 7)
    ]
    with torch.no_grad():
        together = model(rows)
        alone = torch.cat([model(rows[row : row + 1, ..., :n]) for row, n in enumerate(lengths)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together.std(0).min() > 1e-4  # it does look at the samples


@pytest.mark.parametrize(("architecture", "form"), LENGTHS)
def test_a_sample_of_padding_alone_is_answered(architecture: str, form: Form) -> None:
    model, rows = built(architecture, form).eval(), samples(form, 2)
    rows[1] = 0
    with torch.no_grad():
        assert model(rows).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "form"), TAKEN)
def test_it_is_exported_for_any_number_of_samples(architecture: str, form: Form) -> None:
    model = built(architecture, form).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (samples(form, 2),), dynamic_shapes=({0: batch},))
    for n in (1, 7):
        with torch.no_grad():
            found = program.module()(samples(form, n, seed=1))
            wanted = model(samples(form, n, seed=1))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
