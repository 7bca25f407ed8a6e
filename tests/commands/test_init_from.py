"""``sweeper init --from``: studies of a script, or of a module that is written beside them."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sweeper.commands.init.script import Option, read_script
from sweeper.commands.init.searched import starting_range
from sweeper.commands.init.write import write_study
from sweeper.config.reader import load_study
from sweeper.errors import SpecError

PROGRAMS = Path(__file__).parents[1] / "programs"


def script(folder: Path, text: str) -> Path:
    path = folder / "train.py"
    path.write_text(
        "import argparse\nparser = argparse.ArgumentParser()\n" + textwrap.dedent(text)
    )
    return path


def option(name: str, default: float | int | str | None, *choices: str) -> Option:
    return Option(
        f"--{name}",
        name.replace("-", "_"),
        default,
        choices,
        is_required=False,
        takes_value=True,
    )


def test_options_are_read_and_nothing_is_run(tmp_path: Path) -> None:
    found = read_script(
        script(
            tmp_path,
            """
            group = parser.add_argument_group("more")
            parser.add_argument("data", type=Path)
            parser.add_argument("-l", "--learning-rate", type=float, default=1e-3, help="x")
            group.add_argument("--out", dest="folder", default=Path("out"))
            group.add_argument("--kind", choices=["a", "b"], required=True)
            group.add_argument("--amp", action="store_true")
            group.add_argument("--pair", nargs=2, type=int, default=[1, 2])
            group.add_argument("--n", type=int, default=N)
            raise SystemExit("it was run")
            """,
        )
    )
    assert found.options == [
        Option("", "data", None, (), is_required=True, takes_value=True),
        option("learning-rate", 1e-3),
        replace(option("out", "out"), name="folder"),
        Option("--kind", "kind", None, ("a", "b"), is_required=True, takes_value=True),
        Option("--amp", "amp", None, (), is_required=False, takes_value=False),
        Option("--pair", "pair", None, (), is_required=False, takes_value=False),
        option("n", None),
    ]


@pytest.mark.parametrize(
    ("line", "json_keys", "printed"),
    [
        (
            'print(f"Epoch {epoch}/{n}  loss={loss:.4f} (best {best})  acc: {acc:5.1%}")',
            [],
            [("epoch", "Epoch "), ("loss", "loss="), ("acc", "acc: ")],
        ),
        ('print(f"[{e}] train loss {loss:.3f}")', [], [("train_loss", "train loss ")]),
        ('print(json.dumps({"epoch": e, "val_loss": x}), flush=True)', ["epoch", "val_loss"], []),
        ("print(json.dumps(dict(epoch=e, auc=x)))", ["epoch", "auc"], []),
        ('print(json.dumps({"done": True}))', [], []),
        ('print(f"epoch {epoch}")', [], []),
        ('print("loss", loss)', [], []),
    ],
)
def test_what_a_script_prints_is_told(
    tmp_path: Path, line: str, json_keys: list[str], printed: list[tuple[str, str]]
) -> None:
    found = read_script(script(tmp_path, f'parser.add_argument("--lr")\n{line}\n'))
    assert list(found.json_keys) == json_keys
    assert [(value.name, value.ahead) for value in found.printed] == printed


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (option("lr", 0.05), {"low": 0.005, "high": 0.5, "log": True}),
        (option("lr", 3e-4), {"low": 3e-5, "high": 3e-3, "log": True}),
        (option("weight_decay", 0.0), {"low": 1e-6, "high": 1e-2, "log": True}),
        (option("batch_size", 64), {"choices": [32, 64, 128]}),
        (option("n_layers", 2), {"low": 1, "high": 4}),
        (option("dropout", 0.1), {"low": 0.0, "high": 0.5}),
        (option("momentum", 0.9), {"low": 0.8, "high": 0.99}),
        (option("optimizer", "adam", "adam", "sgd"), {"choices": ["adam", "sgd"]}),
        (option("lr", "auto"), None),
        (option("mode", "a", "a", "b"), None),
        (option("delay", 0.1), None),
        (option("batch_size", 1), None),
    ],
)
def test_what_is_usually_searched_has_a_range_around_its_default(
    found: Option, wanted: dict[str, object] | None
) -> None:
    assert starting_range(found) == wanted


def test_a_script_becomes_a_command_with_its_options(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        parser.add_argument("corpus")
        parser.add_argument("--lr", type=float, default=0.1)
        parser.add_argument("--num-epochs", type=int, default=7)
        parser.add_argument("--random_seed", type=int, default=0)
        parser.add_argument("--out_dir")
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--metrics", default="all", choices=["all", "few"])
        parser.add_argument("--amp", action="store_true")
        parser.add_argument("--resume")
        print(f"epoch {epoch} train_loss {a:.3f} val_loss {b:.3f} val_acc {c:.3f}")
        """,
    )
    study = tmp_path / "sweep.yaml"
    write_study(study, source=str(path))
    plain = yaml.safe_load(study.read_text())
    assert plain["objective"] == {"metric": "val_acc", "direction": "maximize"}
    train = plain["train"]
    assert train.pop("command") == (
        f"python {path} ${{train.corpus}} --lr ${{train.lr}} --num-epochs ${{train.epochs}} "
        "--random_seed ${trial.seed} --out_dir ${trial.checkpoint} --device ${trial.device} "
        "--metrics ${train.option_metrics}"
    )
    assert set(train.pop("report")) == {"epoch", "train_loss", "val_loss", "val_acc"}
    assert train == {
        "corpus": "FILL-IN",
        "lr": {"low": 0.01, "high": 1.0, "log": True},
        "epochs": 7,
        "option_metrics": "all",
    }
    assert "# not named, so left at its default: --amp, --resume\n" in study.read_text()
    load_study(study)


def test_a_script_that_prints_nothing_known_has_a_report_to_fill_in(tmp_path: Path) -> None:
    path = script(tmp_path, 'parser.add_argument("--lr", default=1)\n')
    write_study(tmp_path / "sweep.yaml", source=str(path))
    assert (
        "# to be filled in: what stands ahead of the number"
        in (tmp_path / "sweep.yaml").read_text()
    )
    assert load_study(tmp_path / "sweep.yaml").objective.metrics == ("val_loss",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "has no add_argument of argparse"),
        ("x = = 1\n", "train.py:1: is no Python: invalid syntax"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_script_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "train.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError, match=said):
        write_study(tmp_path / "sweep.yaml", source=str(path))


@pytest.mark.parametrize("name", ["words", "resumable", "tracked", "ddp"])
def test_scripts_of_strangers_become_studies(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sweep.yaml"
    write_study(path, source=str(PROGRAMS / f"{name}.py"))
    spec = load_study(path)
    assert len(spec.ranges()) >= 2


@pytest.mark.parametrize("trainer", ["lightning", "transformers"])
def test_a_trainers_module_is_written_beside_the_study(tmp_path: Path, trainer: str) -> None:
    path = tmp_path / "2-sweeps.yaml"
    write_study(path, source=trainer)
    assert load_study(path).ranges()
    module = tmp_path / "_2_sweeps_training.py"
    compile(module.read_text(), module, "exec")
    path.unlink()
    with pytest.raises(SpecError, match="_2_sweeps_training.py: exists already"):
        write_study(path, source=trainer)
    assert not path.exists()
