"""Fixed trials, curves and models in MLflow: sweeper beside what people use.

    python benchmarks/fixed_trials.py mlp --repeats 3
    python benchmarks/fixed_trials.py adult --repeats 3

Each run is a whole process from its cold start, in a folder that is empty at first. A run counts
only if its MLflow store then holds every setting once, with whole curves and a model. Where the
device has units for bf16, sweeper runs MNIST once more with it, as ``sweeper check`` may propose.
On a CPU the matrix products of all updates take a turn as well: nobody is faster than
``products.py``.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import yaml
from contenders import (
    BASELINES,
    BASELINES_PYTHON,
    Contender,
    compare,
    describe_baselines,
)
from fixed_results import FLOOR, Work, read_ours, read_work, render_results
from mnist import add_data_option, fetch_mnist
from products import prepare
from results import HERE, PAGE, describe_machine, write_section

import sweeper
from sweeper.config.study import StudySpec
from sweeper.errors import SweeperError
from sweeper.workers.devices import known_precisions


@dataclass(frozen=True)
class Scenario:
    """Fixed trials of one network on one data set.

    Attributes:
        title: Of the section.
        what: Is trained.
        data_set: As the baselines call it.
        network: As the baselines call it.
        rival: Beside the plain script.
    """

    title: str
    what: str
    data_set: str
    network: str
    rival: str = "Lightning"

    @property
    def is_mnist(self) -> bool:
        """Images are downloaded; other data are made by ``scripts/example-data``."""
        return self.data_set == "mnist"


#: Less ``_trials``, the name of a study in ``studies/`` -> what it is about.
SCENARIOS: Mapping[str, Scenario] = {
    "mlp": Scenario("Eight MLP trials", "an MLP on MNIST", "mnist", "mlp", "Ray Tune"),
    "cnn": Scenario("Eight CNN trials", "a CNN on MNIST", "mnist", "cnn", "Ray Tune"),
    "adult": Scenario("A table: adult", "an MLP on adult", "adult", "mlp"),
    "clinc150_bag": Scenario(
        "Text: clinc150, bag of words", "a bag of words on clinc150", "clinc150", "bag"
    ),
    "clinc150_gru": Scenario("Text: clinc150, GRU", "a GRU on clinc150", "clinc150", "gru"),
    "clinc150_transformer": Scenario(
        "Text: clinc150, Transformer", "a Transformer on clinc150", "clinc150", "transformer"
    ),
    "fsdd_cnn": Scenario("Speech: FSDD, CNN", "a CNN on FSDD", "fsdd", "cnn"),
    "fsdd_gru": Scenario("Speech: FSDD, GRU", "a GRU on FSDD", "fsdd", "gru"),
}


def load_study(name: str) -> StudySpec:
    """The study of a scenario."""
    return sweeper.load(HERE / "studies" / f"{name}_trials.yaml").spec


def contenders(
    scenario: Scenario, study: StudySpec, *, data: Path, cache: Path
) -> list[Contender[Work]]:
    """The programs, ready to train the settings of ``study``.

    Args:
        scenario: That of ``study``.
        study: All its trials are enqueued.
        data: Folder that holds what is trained on.
        cache: Folder that holds the same as :func:`products.prepare` left it.
    """
    words = [scenario.data_set, scenario.network, "--data", str(data)]
    words += ["--experiment", study.name, "--trials", str(study.n_trials)]
    words += ["--epochs", str(study.sections["train"]["epochs"])]
    plain = yaml.safe_load(study.path.read_text(encoding="utf-8"))
    ours = {"sweeper": plain}
    has_gpu = torch.cuda.is_available()
    if scenario.is_mnist and "bf16" in known_precisions("cuda:0" if has_gpu else "cpu"):
        ours["sweeper in bf16"] = plain | {"run": plain["run"] | {"precision": "bf16"}}
    found = [
        Contender(
            name,
            [sys.executable, "-m", "sweeper", "run", study.path.name],
            partial(read_ours, study),
            environment={"SWEEPER_DATA": str(data)},
            files={study.path.name: yaml.safe_dump(content)},
        )
        for name, content in ours.items()
    ]
    if not has_gpu:
        products = [sys.executable, str(HERE / "products.py"), str(study.path), str(cache)]
        environment = {"SWEEPER_DATA": str(data)}
        found.append(Contender(FLOOR, products, lambda _: Work([]), environment=environment))
    programs = {"the plain script": "plain.py", "Ray Tune": "ray_tune.py"}
    programs["Lightning"] = "lightning_trials.py"
    return found + [
        Contender(
            name,
            [BASELINES_PYTHON, str(BASELINES / programs[name]), *words],
            partial(read_work, study, Path("mlflow.db")),
            is_accountable=name != "Ray Tune",
        )
        for name in ("the plain script", scenario.rival)
    ]


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    add_data_option(parser)
    arguments = parser.parse_args()
    name, n_repeats = arguments.scenario, arguments.repeats
    scenario, study = SCENARIOS[name], load_study(name)
    facts = describe_machine(f"python benchmarks/fixed_trials.py {name} --repeats {n_repeats}")
    facts["Versions of the baselines"] = describe_baselines(scenario.rival)
    data = fetch_mnist(arguments.data) if scenario.is_mnist else arguments.data.resolve()
    os.environ["SWEEPER_DATA"] = str(data)
    with tempfile.TemporaryDirectory() as cache:
        try:
            prepare(study, Path(cache))
        except SweeperError as exc:
            sys.exit(str(exc))
        programs = contenders(scenario, study, data=data, cache=Path(cache))
        measured = compare(programs, n_repeats=n_repeats)
    write_section(scenario.title, render_results(scenario.what, study, measured, facts))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
