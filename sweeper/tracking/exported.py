"""A network exported once, as MLflow saves it, then saved with the weights of trial after trial.

``torch.export`` takes most of the time of logging a model, and does not look at the weights.
"""

import shutil
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import Tensor, nn
from torch.export import ExportedProgram

from sweeper.models.tracing import tracing_by_shapes
from sweeper.tracking.served import SERVE, Served
from sweeper.tracking.torch_flavor import torch_flavor
from sweeper.training.export import check_answers, forget_lines, pinned, requirements

#: In the folder of an MLflow model.
MLMODEL, PROGRAM = Path("MLmodel"), Path("data", "model.pt2")
#: Of all programs that wait for the next trial of their kind, weights included.
_KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ExportedModel:
    """An MLflow model in pt2 form that takes on other weights.

    Attributes:
        program: With the weights of the latest trial.
        description: What MLflow wrote to ``MLmodel``, of no run in particular.
        files: Path in the model's folder -> content, but for ``MLmodel`` and the program.
    """

    program: ExportedProgram
    description: Mapping[str, Any]
    files: Mapping[Path, bytes]

    @property
    def n_bytes(self) -> int:
        """Memory of the weights and the files."""
        weights: int = sum(tensor.nbytes for tensor in self.program.state_dict.values())
        return weights + sum(map(len, self.files.values()))

    def save(self, module: nn.Module, probe: Tensor, folder: Path) -> None:
        """Write all but ``MLmodel`` to ``folder``, with the weights of ``module``.

        Args:
            module: Built as the one that was exported.
            probe: As :func:`save_exported` took.
            folder: Is made.

        Raises:
            ValueError: If the program answers otherwise than ``module``.
        """
        weights = module.state_dict()
        with torch.no_grad():
            for name, tensor in self.program.state_dict.items():
                tensor.copy_(weights[name])
        _check_answers(self.program, module, probe)
        (folder / PROGRAM).parent.mkdir(parents=True)
        torch.export.save(self.program, folder / PROGRAM)
        for path, content in self.files.items():
            (folder / path).write_bytes(content)

    def describe(self, run_id: str) -> Model:
        """The content of ``MLmodel`` for the model of one run."""
        fresh = Model(run_id=run_id)
        own = {"run_id": run_id, "utc_time_created": fresh.utc_time_created}
        return Model.from_dict({**self.description, **own})


def import_export() -> None:
    """Import now what torch imports at the first export: most of a second of a core."""
    with suppress(Exception):  # where nothing can be exported, the first model says so
        torch.export.export(nn.Identity(), (torch.zeros(1),))


def save_exported(
    module: nn.Module, probe: Tensor, folder: Path, served: Served | None = None
) -> ExportedModel:
    """Let MLflow export ``module`` for any batch size, and write it to ``folder``.

    Args:
        module: In eval mode: [B, ...] -> outputs [B, n_outputs].
        probe: Some samples, of a number that tracing does not see.
        folder: Is made.
        served: What makes samples of rows, and answers of outputs; None if the model is to take
            and to return tensors.

    Raises:
        Exception: Whatever ``torch.export`` raises for a model that it cannot export.
        ValueError: If the program answers otherwise than ``module``.
    """
    # Of recurrent networks, whose list of weights is made anew while they are traced.
    warnings.filterwarnings("ignore", "The tensor attributes .* were assigned during export")
    # A batch of 1 would fix the batch at 1.
    example = torch.zeros_like(probe[:2]).numpy()
    outputs = _answers(module, probe).numpy()
    packages = _packages(module, served)
    signature = ModelSignature(
        Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]),
        Schema([TensorSpec(outputs.dtype, (-1, *outputs.shape[1:]))]),
    )
    with tracing_by_shapes():
        torch_flavor.save_model(
            module,
            str(folder),
            signature=signature,
            input_example=example,
            pip_requirements=packages,
            serialization_format="pt2",
        )
    program = torch.export.load(folder / PROGRAM)
    forget_lines(program)
    torch.export.save(program, folder / PROGRAM)
    _check_answers(program, module, probe)
    if served:
        description = serve_by_code(
            folder, SERVE, served.signature(), served.example(), packages, served.files()
        )
        save_description(description, folder)
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    files = {path: (folder / path).read_bytes() for path in paths - {MLMODEL, PROGRAM}}
    return ExportedModel(program, Model.load(str(folder)).to_dict(), files)


def serve_by_code(
    folder: Path,
    code: Path,
    signature: ModelSignature,
    example: Any,
    packages: Sequence[str],
    files: Mapping[Path, bytes],
) -> Model:
    """Let ``mlflow.pyfunc`` run code, and ``mlflow.pytorch`` load the program as before.

    Args:
        folder: Of an MLflow model in pt2 form.
        code: The file that MLflow runs, which finds the program and the files beside it.
        signature: Of what it takes and answers.
        example: Of what it takes.
        packages: That it needs, as pip writes them.
        files: That it reads, by their path in the folder.

    Returns:
        The content of ``MLmodel``, which is yet to be written.
    """
    aside = folder.with_name("serving")
    tensors = Model.load(str(folder)).flavors[torch_flavor.FLAVOR_NAME]
    mlflow.pyfunc.save_model(
        str(aside),
        python_model=str(code),
        mlflow_model=Model(flavors={torch_flavor.FLAVOR_NAME: tensors}),
        signature=signature,
        input_example=example,
        pip_requirements=list(packages),
    )
    (folder / PROGRAM.parent).rename(aside / PROGRAM.parent)
    shutil.rmtree(folder)
    aside.rename(folder)
    for path, content in files.items():
        (folder / path).write_bytes(content)
    description = Model.load(str(folder))
    # Where it lay on this machine is nobody's business; MLflow looks for the name alone.
    description.flavors[mlflow.pyfunc.FLAVOR_NAME]["model_code_path"] = code.name
    return description


def save_description(description: Model, folder: Path) -> None:
    """Write ``MLmodel``, with the size of what lies in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    description.model_size_bytes = sum(path.stat().st_size for path in files)
    description.save(str(folder / MLMODEL))


def _check_answers(program: ExportedProgram, module: nn.Module, probe: Tensor) -> None:
    check_answers(_answers(program.module(), probe), _answers(module, probe))


def _answers(module: nn.Module, probe: Tensor) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = module(probe)
    return outputs


def _packages(module: nn.Module, served: Served | None) -> list[str]:
    of_serving = ["pandas", *served.packages] if served else []
    return requirements(module) + list(map(pinned, of_serving))


class ExportedModels:
    """The exported models used last, as many as fit into some memory, and one at least."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, ExportedModel] = OrderedDict()

    def find(self, kind: str) -> ExportedModel | None:
        """The exported model of that kind."""
        if kind in self._kept:
            self._kept.move_to_end(kind)
        return self._kept.get(kind)

    def keep(self, kind: str, exported: ExportedModel) -> None:
        """Find it from now on."""
        self._kept[kind] = exported
        while len(self._kept) > 1 and self._n_bytes() > _KEPT_BYTES:
            self._kept.popitem(last=False)

    def _n_bytes(self) -> int:
        return sum(exported.n_bytes for exported in self._kept.values())
