import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fixed_results
import fixed_trials
import idle_trials
import numpy as np
import products
import pytest
import torch
from baselines import mnist
from contenders import (
    BASELINES,
    Contender,
    Measurement,
    compare,
    describe_baselines,
    measure,
    render_times,
)
from fixed_results import Work
from mlflow import MlflowClient
from results import HERE, describe_machine, render_facts, write_section
from step import first_config
from torch import nn

import sweeper
from sweeper.config.study import StudySpec
from sweeper.data.dataset import load_data
from sweeper.models.build import build_for
from sweeper.models.cnn import build_cnn
from sweeper.models.mlp import build_mlp
from sweeper.trial import DataInfo, Features, Tokens
from tests.support.data_files import write_mnist
from tests.support.mlflow_store import copy_empty_database

CPU = torch.device("cpu")


def shortened(architecture: str, folder: Path) -> StudySpec:
    """The study of the benchmark with its first two trials alone."""
    text = (HERE / "studies" / f"{architecture}_trials.yaml").read_text()
    assert "trials: 8" in text
    path = folder / "two.yaml"
    path.write_text(text.replace("trials: 8", "trials: 2"))
    return sweeper.load(path).spec


@pytest.fixture
def two_trials(tmp_path: Path) -> StudySpec:
    return shortened("mlp", tmp_path)


@pytest.fixture
def tiny_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    write_mnist(tmp_path, images, np.arange(200, dtype=np.uint8) % 10)
    monkeypatch.setenv("SWEEPER_DATA", str(tmp_path))
    return tmp_path


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    write_section("Speed", "10 x", page)
    write_section("Chaos", "40 of 40", page)
    write_section("Speed", "12 x", page)
    assert page.read_text() == "# Results\n\n## Chaos\n\n40 of 40\n\n## Speed\n\n12 x\n"


def test_facts_name_device_load_versions_commit_and_command() -> None:
    facts = describe_machine("python benchmarks/x.py")
    assert facts["Command"] == "`python benchmarks/x.py`"
    assert f"torch {torch.__version__.partition('+')[0]}" in facts["Versions"]
    page = render_facts(facts)
    assert [line.split(":")[0] for line in page.splitlines()] == [
        "- Device",
        "- Load average before the first run",
        "- Versions",
        "- Commit",
        "- Command",
    ]


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_the_baselines_have_the_settings_of_the_study(architecture: str) -> None:
    study = fixed_trials.load_study(architecture)
    train, data = study.sections["train"], study.sections["data"]
    assert fixed_results.fixed_settings(study) == mnist.SETTINGS
    assert data["batch_size"] == mnist.BATCH_SIZE
    assert data["validation"] == mnist.VALIDATION
    setting = {"learning_rate": 0.5, "l2": 0.25}
    optimizer, schedule = mnist.build_optimizer(torch.nn.Linear(1, 1), setting, 3)
    assert (train["optimizer"], train["momentum"]) == ("sgd", optimizer.defaults["momentum"])
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.5, 0.25)
    assert schedule.get_last_lr() == [0.5]


@pytest.mark.parametrize(("architecture", "build"), [("mlp", build_mlp), ("cnn", build_cnn)])
def test_the_baselines_have_the_network_of_the_study(
    architecture: str, build: Callable[..., nn.Module]
) -> None:
    study = fixed_trials.load_study(architecture)
    params = {**study.sections["model"]}
    assert params.pop("architecture") == architecture
    ours, theirs = build((1, 28, 28), 10, **params), mnist.NETWORKS[architecture]()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    logits = theirs.eval()(images)
    torch.testing.assert_close(ours.eval()(images), logits, rtol=1e-5, atol=1e-5)
    dropouts = [
        [layer.p for layer in net.modules() if isinstance(layer, torch.nn.Dropout)]
        for net in (ours, theirs)
    ]
    assert dropouts[0] == dropouts[1] != []


#: What data are to the baselines, and to sweeper.
FORMS = {
    "adult": (
        SimpleNamespace(n_numbers=5, sizes=(9, 17, 8)),
        DataInfo("", "", (8,), 2, 1, 1, features=Features(5, (9, 17, 8))),
    ),
    "clinc150": (
        SimpleNamespace(n_words=50, n_classes=7),
        DataInfo("", "", (64,), 7, 1, 1, tokens=Tokens(50)),
    ),
    "fsdd": (SimpleNamespace(), DataInfo("", "", (40, 120), 10, 1, 1, frames=True)),
}


@pytest.mark.parametrize("name", sorted(fixed_trials.SCENARIOS.keys() - {"mlp", "cnn"}))
def test_baselines_that_are_no_images_are_as_the_study_has_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, scenario = fixed_trials.load_study(name), fixed_trials.SCENARIOS[name]
    monkeypatch.syspath_prepend(BASELINES)
    module = import_module(scenario.data_set)
    theirs, ours = FORMS[scenario.data_set]
    config = first_config(study)
    assert fixed_results.fixed_settings(study) == module.SETTINGS
    assert config.data is not None
    assert config.data.batch_size == module.BATCH_SIZE
    assert config.model is not None
    model = module.build_model(scenario.network, module.SETTINGS[0], theirs)
    assert n_parameters(model) == n_parameters(build_for(config.model, ours))

    train = study.sections["train"]
    assert (train["optimizer"], train["schedule"]) == ("adam", "cosine")
    optimizer, schedule = module.build_optimizer(model, {"learning_rate": 0.5}, 3)
    assert (type(optimizer), optimizer.defaults["weight_decay"]) == (torch.optim.Adam, 0)
    assert (schedule.T_max, schedule.eta_min, schedule.get_last_lr()) == (3, 0, [0.5])


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_baselines_have_the_versions_that_sweeper_is_tested_with() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text().splitlines() if "==" in line]
        return dict(line.split("==") for line in lines)

    ours = pins(HERE.parent / "constraints.txt")
    theirs = pins(HERE / "baselines" / "requirements.txt")
    assert {"ray[tune]", "py-spy"} == theirs.keys() - ours.keys()
    shared = {"lightning", "mlflow", "optuna", "torch", "torchvision"}
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def test_results_give_medians_spread_ratios_and_accuracies_side_by_side(
    two_trials: StudySpec,
) -> None:
    def runs(*seconds: float) -> list[Measurement[Work]]:
        return [
            Measurement(
                value, 2 * value, Work([0.5, value / 100], {"data": value, "step": 100 - value})
            )
            for value in seconds
        ]

    measured = {
        "sweeper": runs(3.0, 2.0, 4.0),
        "sweeper in bf16": runs(1.5, 1.5, 1.5),
        fixed_results.FLOOR: [Measurement(1.0, 2.0, Work([]))] * 3,
        "the plain script": runs(12.0, 60.0, 11.0),
    }
    page = fixed_results.render_results("an MLP", two_trials, measured, {"Device": "an abacus"})

    assert "2 fixed trials of an MLP x 2 epochs" in page
    assert "data take 3.0% (at most 4.0%): step 97.0%, data 3.0%; harness 0.0%." in page
    assert "**sweeper needs 1/4.0 of the plain script's time.**" in page
    assert "**sweeper in bf16 needs 1/8.0 of the plain script's time.** (medians, n = 3" in page
    assert "need 1/12.0 of the plain script's time: no program" in page
    assert "| sweeper | 3.0 | 2.0 - 4.0 | 3.0, 2.0, 4.0 | 1.0 | 6.0 |" in page
    assert "| the plain script | 12.0 | 11.0 - 60.0 | 12.0, 60.0, 11.0 | 4.0 | 24.0 |" in page
    assert "| learning_rate | l1 | l2 | sweeper | sweeper in bf16 | the plain script |" in page
    assert "| 0.05 | 1e-06 | 1e-05 | 0.0300 (0.0200 - 0.0400) | 0.0150 (0.0150 - 0.0150) |" in page
    assert "- Device: an abacus" in page


def test_a_cpu_time_that_cannot_be_known_is_shown_as_that() -> None:
    page = render_times({"a": [Measurement(1.0, 2.0, 0)], "b": [Measurement(3.0, None, 0)]})
    assert "| a | 1.0 | 1.0 - 1.0 | 1.0 | 1.0 | 2.0 |" in page
    assert "| b | 3.0 | 3.0 - 3.0 | 3.0 | 3.0 | not known |" in page


def python(code: str, **settings: Any) -> Contender[str]:
    command = [sys.executable, "-c", code]
    return Contender("it", command, lambda folder: (folder / "out").read_text(), **settings)


def test_a_contender_runs_in_a_folder_that_holds_its_files_alone() -> None:
    code = "import os; names = os.listdir(); open('out', 'w').write(str(names))"
    measurement = measure(python(code, files={"study.yaml": ""}))
    assert measurement.found == "['study.yaml']"
    assert measurement.seconds > 0
    assert measurement.cpu_seconds is not None


def test_contenders_take_turns_in_the_opposite_order_each_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    contenders = [
        Contender(name, [sys.executable, "-c", f"open({str(log)!r}, 'a').write({name!r})"], str)
        for name in "ab"
    ]
    measured = compare(contenders, n_repeats=3)
    assert log.read_text() == "abbaab"
    assert {name: len(runs) for name, runs in measured.items()} == {"a": 3, "b": 3}


def test_a_program_that_fails_stops_the_comparison_with_its_last_words() -> None:
    with pytest.raises(SystemExit, match=r"(?s)it failed:.*ZeroDivisionError"):
        measure(python("1 / 0"))


def test_a_store_without_the_settings_does_not_count(two_trials: StudySpec) -> None:
    read = partial(fixed_results.read_work, two_trials, Path("mlflow.db"))
    idler = Contender("idler", [sys.executable, "-c", "pass"], read)
    with pytest.raises(SystemExit, match="idler did not do all of the work: .*no experiment"):
        measure(idler)


def test_baselines_that_are_not_installed_are_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("contenders.BASELINES_PYTHON", "/nowhere/python")
    with pytest.raises(SystemExit, match=r"/nowhere/python: .* make it with `make baselines`"):
        describe_baselines("Lightning")


def test_tracked_trials_count_when_each_has_one_point(tmp_path: Path) -> None:
    study = idle_trials.load_study("empty_trials", n_trials=2)
    copy_empty_database(tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("empty_trials")
    parent = client.create_run(experiment).info.run_id
    client.set_terminated(parent)

    def add_trial(*scores: float) -> None:
        tags = {"mlflow.parentRunId": parent}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        for step, score in enumerate(scores, start=1):
            client.log_metric(run_id, "score", score, step=step)
        client.set_terminated(run_id)

    add_trial(0.5)
    with pytest.raises(ValueError, match="1 trials, 1 of them with one point of score, not 2"):
        idle_trials.read_tracked(study, Path("mlflow.db"), tmp_path)
    add_trial(0.25)
    assert idle_trials.read_tracked(study, Path("mlflow.db"), tmp_path) == 2
    add_trial(0.5, 0.75)
    with pytest.raises(ValueError, match="3 trials, 2 of them with one point of score, not 2"):
        idle_trials.read_tracked(study, Path("mlflow.db"), tmp_path)


def test_untracked_trials_count_when_rays_files_have_each(tmp_path: Path) -> None:
    study = idle_trials.load_study("empty_trials", n_trials=2)
    for number in (1, 2):
        with pytest.raises(ValueError, match=f"{number - 1} trials, "):
            idle_trials.read_ray(study, tmp_path)
        trial = tmp_path / "ray_results" / "trials" / f"trial_{number}"
        trial.mkdir(parents=True)
        (trial / "result.json").write_text(json.dumps({"score": 0.5}) + "\n")
    assert idle_trials.read_ray(study, tmp_path) == 2


@pytest.mark.slow
def test_the_floor_has_the_updates_of_the_study_and_is_computed(
    two_trials: StudySpec, tiny_mnist: Path, tmp_path: Path
) -> None:
    products.prepare(two_trials, tmp_path)
    program = [sys.executable, str(HERE / "products.py"), str(two_trials.path), str(tmp_path)]
    assert measure(Contender("floor", program, str)).seconds > 0
    config = first_config(two_trials).data
    assert config is not None
    data = load_data(config, cache_dir=tmp_path, seed=1, device=CPU, resident_bytes=2**30)
    updates = products.list_updates(two_trials, data)
    assert sorted(n for _, n in updates) == [4, 8]  # 180 images: two whole batches, and a rest


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_both_programs_do_the_same_work_on_a_tiny_mnist(
    architecture: str, tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shortened(architecture, tmp_path)
    monkeypatch.setattr(fixed_trials, "BASELINES_PYTHON", sys.executable)
    scenario = fixed_trials.SCENARIOS[architecture]
    *contenders, ray = fixed_trials.contenders(scenario, study, data=tiny_mnist, cache=tmp_path)
    contenders = [contender for contender in contenders if contender.name != fixed_results.FLOOR]
    assert ray.name == "Ray Tune"  # it is not installed here

    measured = compare(contenders, n_repeats=1)
    page = fixed_results.render_results(scenario.what, study, measured, {})

    assert {"sweeper", "the plain script"} <= set(measured)
    assert all(len(run.found.accuracies) == 2 for runs in measured.values() for run in runs)
    assert "needs 1/" in page
    assert str(tmp_path) not in page
