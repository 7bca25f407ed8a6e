"""Every message that a study file can meet: its full text, with file and line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.config.reader import load_study, parse_study
from sweeper.errors import SpecError
from tests.support.spec_files import BASE, assert_refused


def test_all_problems_come_at_once_in_file_order() -> None:
    assert_refused(
        """\
budgt: 5
objective: {metric: val_acc}
pruner: {name: median, min_epochs: 30, patience: 3}
data: {name: mnits, batch_size: 0}
model:
  architecture: {choices: {mlp: {depht: 2}, cnn: {}}}
  dropout: {low: 0.5, high: 0.1}
train: {epochs: 20, learning_rate: {low: 0, high: 1, log: true}, optimiser: sgd}
run: {workers: 2}
forbid:
  - {model.dropout: 0.3, train.l1: 0}
storage: sqlite:///x.db
seed: 1
seed: 2
""",
        """
1: budgt: unknown key; did you mean 'budget'?
2: objective.metric: nobody reports 'val_acc'; did you mean 'val_accuracy'?
3: pruner.patience: median does not look at it; it takes min_epochs, startup_trials
3: pruner.min_epochs: asks for 30 epochs, but train.epochs is 20; lower one
4: data.name: unknown data set 'mnits'; did you mean 'mnist'?
4: data.batch_size: must be greater than or equal to 1, got 0
6: model.architecture.mlp.depht: unknown key; did you mean 'depth'?
7: model.dropout: low must be < high, got low=0.5 high=0.1
8: train.optimiser: unknown key; did you mean 'optimizer'?
8: train.learning_rate: must be greater than 0, got 0
9: run.workers: claims on SQLite are not atomic; use storage: auto, PostgreSQL, or workers: 1
11: forbid[0].train.l1: is not searched; known: model.architecture
14: seed: given twice, first on line 13; keep one
""",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name:", "3: name: must be a string, got nothing"),
        ("name: 7", "3: name: must be a string, got 7; put it in quotes"),
        ("name: [a]", "3: name: must be one value, got a list"),
        ("name: ../x", "3: name: must be up to 100 letters, digits, '.', '_' or '-', a letter or "
         "digit first, got '../x'"),
        (f"name: {'x' * 101}", "3: name: must be up to 100 letters, digits, '.', '_' or '-', a "
         f"letter or digit first, got '{'x' * 76}..."),
        ("seed: 1.5", "3: seed: must be a whole number, got 1.5"),
        ("seed: 99999999999999999999", "3: seed: must be a whole number, got 1e+20"),
        ("seed: 1_000", "3: seed: must be a whole number, got '1_000'"),
        ("budget: 5", "3: budget: must be a mapping of trials, timeout, trial_timeout, got 5"),
        ("budget: {trials: 0, timeout: soon}",
         "3: budget.trials: must be greater than or equal to 1, got 0\n"
         "3: budget.timeout: must be a duration such as 2h, 90m, 1h30m or 45s, got 'soon'"),
        ("budget: {trials: true, timeout: 0s}",
         "3: budget.trials: must be a whole number, got true\n"
         "3: budget.timeout: must be greater than 0, got '0s'"),
        ("budget: {timeout: .inf}", "3: budget.timeout: must be finite, got inf"),
        ("budget: {timeout: 1:30}",
         "3: budget.timeout: must be a duration such as 2h, 90m, 1h30m or 45s, got '1:30'"),
        ("objective: [val_loss]",
         "3: objective: must be a mapping of metric and direction, got a list"),
        ("objective: {metrics: val_loss}",
         "3: objective.metrics: unknown key; did you mean 'metric'?"),
        ("objective: {metric: []}",
         "3: objective.metric: must be one metric or a list of different ones"),
        ("objective: {metric: [val_loss, val_loss]}",
         "3: objective.metric: must be one metric or a list of different ones"),
        ("objective: {metric: {a: 1}}", "3: objective.metric: must be one value, got a mapping"),
        ("objective: {metric: learning_rate}", "3: objective.direction: is required, minimize or "
         "maximize: 'learning_rate' does not tell"),
        ("objective: {direction: maximise}", "3: objective.direction: must be 'minimize' or "
         "'maximize', got 'maximise'; did you mean 'maximize'?"),
        ("objective: {metric: [val_loss, val_accuracy], direction: minimize}",
         "3: objective.direction: must be one for each metric, got 1 for 2"),
        ("objective: {metric: [val_loss, val_accuracy]}\nsampler: {name: cmaes}\n"
         "pruner: {name: asha}",
         "4: sampler.name: cmaes takes one metric; use nsga2, tpe or gp\n"
         "5: pruner.name: several metrics cannot be pruned by; set it to none"),
        ("sampler: {name: hyperopt}", "3: sampler.name: must be 'auto', 'tpe', 'gp', 'random', "
         "'grid', 'qmc', 'cmaes' or 'nsga2', got 'hyperopt'"),
        ("sampler: tpe", "3: sampler: must be a mapping of name, got 'tpe'"),
        ("pruner: {name: none, patience: 3}",
         "3: pruner.patience: none does not look at it; it takes no other key"),
        ("pruner: {min_epochs: 11}",
         "3: pruner.min_epochs: asks for 11 epochs, but train.epochs is 10; lower one"),
        ("pruner: {min_epochs: 5}\ntrain: {epochs: {choices: [2, 4]}}",
         "3: pruner.min_epochs: asks for 5 epochs, but train.epochs is 4; lower one"),
        ("pruner: {min_epochs: 5}\ntrain: {epochs: {low: 2, high: 4}}",
         "3: pruner.min_epochs: asks for 5 epochs, but train.epochs is 4; lower one"),
        ("run: {workers: four, device: gpu, precision: fp16}",
         "3: run.workers: must be 'auto' or a whole number, got 'four'\n"
         "3: run.device: must be auto, cpu, mps, cuda, or one GPU such as cuda:0, got 'gpu'\n"
         "3: run.precision: must be 'fp32', 'tf32' or 'bf16', got 'fp16'; did you mean 'bf16'?"),
        ("run: {workers_per_device: 0}",
         "3: run.workers_per_device: must be greater than or equal to 1, got 0"),
        ("run: {workers: 4, workers_per_device: 2}", "3: run.workers_per_device: run.workers sets "
         "all of them to 4 already; drop one"),
        ("run: {device: cpu, workers_per_device: 2, precision: tf32}",
         "3: run.workers_per_device: is for GPUs, and run.device is cpu; set run.workers instead\n"
         "3: run.precision: tf32 is for NVIDIA GPUs, and run.device is cpu; use fp32 or bf16"),
        ("run: {workers_per_device: 2}\nstorage: sqlite:///a.db", "3: run.workers_per_device: "
         "claims on SQLite are not atomic; use storage: auto, PostgreSQL, or "
         "workers_per_device: 1"),
        ("train: {function: 'a:b'}\nrun: {precision: bf16}", "4: run.precision: train.function "
         "computes with numbers of its own choice; drop this"),
        ("run: {object_store: /shared}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 'file://shared'}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 's3://'}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 's3://bucket?secret=x'}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 's3://ann:x@bucket/a'}",
         "3: run.object_store: must hold no user and no password; the environment gives "
         "the driver its credentials"),
        ("run: {object_store: 'memory://a'}",
         "3: run.object_store: memory:// is the memory of one process, which no other "
         "node reaches"),
        ("tracking: {log_models: all}",
         "3: tracking.log_models: must be 'none', 'best' or 'completed', got 'all'"),
        ("budget: {trials: 99999999}\nrun: {workers: 5000}",
         "3: budget.trials: must be at most 1,000,000, got 99,999,999\n"
         "4: run.workers: must be at most 1,000, got 5,000"),
        ("objective: {metric: ../x, direction: minimize}\ntrain: {function: 'a:b'}",
         "3: objective.metric: MLflow reads a name as a path, which may not be absolute and holds "
         "no . .. or //, got '../x'"),
        ("train: {function: 'a:b', a: {lr*: 1}, b/: 1, c: {choices: {'x?': {d: 1}}}}",
         """3: train.a.lr*: MLflow takes letters, digits, spaces and _ - . : / in a name alone
         3: train.b/: MLflow reads a name as a path, which may not be absolute and holds no . .. \
or //
         3: train.c.x?.d: MLflow takes letters, digits, spaces and _ - . : / in a name alone"""),
        (f"train: {{function: 'a:b', {'k' * 300}: 1}}",
         f"3: train.{'k' * 300}: MLflow takes names of up to 245 signs, this one has 306"),
        (r'train: {function: "a:b", x: "a\0b", y: ["\ud800"]}',
         r"3: train.x: a text may hold neither \0 nor half of a surrogate pair; write it without"
         "\n" r"3: train.y[0]: a text may hold neither \0 nor half of a surrogate pair; write it "
         "without"),
        ("train: 5", "3: train: must be a mapping of keys, got 5"),
        ("train: {epochs: 5, warmup_epochs: 5, nesterov: true, momentum: 0}",
         "3: train.warmup_epochs: must be shorter than train.epochs=5, got 5\n"
         "3: train.nesterov: needs train.momentum > 0; set one, or nesterov: false"),
        ("train: {nesterov: on, momentum: 1:30}",
         "3: train.nesterov: must be true or false, got 'on'\n"
         "3: train.momentum: must be a number, got '1:30'"),
        ("train: {l1: .nan, learning_rate: .inf, epochs: }",
         "3: train.l1: must be greater than or equal to 0, got nan\n"
         "3: train.learning_rate: must be finite, got inf\n"
         "3: train.epochs: must be a whole number, got nothing"),
        ("train: {optimizer: [sgd, adam], schedule: {cosine: 1}}",
         "3: train.optimizer: must be one value, {low: .., high: ..} or {choices: [..]}, "
         "got a list\n"
         "3: train.schedule: must be one value, {low: .., high: ..} or {choices: [..]}, "
         "got a mapping"),
        ("train: {function: run}", "3: train.function: 'run' is not of the form "
         "package.module:function, e.g. my_models.nets:build"),
    ],
)  # fmt: skip
def test_a_constant_that_is_wrong(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)


SEARCH = """\
data: {name: digits}
model:
  architecture: {choices: {mlp: {depth: {low: 1, high: 5, step: 2}}, cnn: {}}}
  activation: {choices: [relu, tanh]}
  dropout: {low: 0, high: 0.5, step: 0.25}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forbid: {model.activation: relu}",
         "6: forbid: must be a list of mappings such as `- {train.optimizer: sgd}`"),
        ("enqueue:\n- 5\n- {}\n- {model.activation: [relu]}",
         """7: enqueue[0]: must be a list of mappings such as `- {train.optimizer: sgd}`
         8: enqueue[1]: must be a list of mappings such as `- {train.optimizer: sgd}`
         9: enqueue[2].model.activation: must be one value, got a list"""),
        ("forbid:\n- model.activation: relu\n  model.activtion: relu\n- {model.dropout: 0.3}\n"
         "- {model.activation: gelu, model.architecture.mlp.depth: 2}",
         """8: forbid[0].model.activtion: is not searched; did you mean 'model.activation'?
         9: forbid[1].model.dropout: must lie within {low: 0.0, high: 0.5, step: 0.25}, got 0.3
         10: forbid[2].model.activation: must lie within {choices: [relu, tanh]}, got 'gelu'
         10: forbid[2].model.architecture.mlp.depth: must lie within {low: 1, high: 5, step: 2}, \
got 2"""),
        ("enqueue:\n- {model.architecture: cnn, model.architecture.mlp.depth: 3}\n"
         "- {model.architecture: rnn}\n- {model.dropout: true}",
         """7: enqueue[0].model.architecture.mlp.depth: is drawn only with model.architecture: \
mlp; add that
         8: enqueue[1].model.architecture: must lie within {choices: [mlp, cnn]}, got 'rnn'
         9: enqueue[2].model.dropout: must lie within {low: 0.0, high: 0.5, step: 0.25}, \
got true"""),
        ("forbid: [{model.dropout: 0}]\nenqueue:\n- {model.activation: tanh, model.dropout: 0}",
         "8: enqueue[0]: is ruled out by forbid; drop one of the two"),
        ("sampler: {name: grid}\ntrain:\n  l1: {low: 0, high: 1}\nenqueue: [{model.dropout: 0}]",
         """8: train.l1: a grid needs a step, or choices, in place of every real number
         9: enqueue: a grid tries everything already; drop it"""),
    ],
)  # fmt: skip
def test_settings_and_grids_that_do_not_fit_the_search(text: str, expected: str) -> None:
    assert_refused(SEARCH + text, expected)


def refusals(*paths: Path) -> list[str]:
    messages = []
    for path in paths:
        with pytest.raises(SpecError) as caught:
            load_study(path)
        messages.append(str(caught.value))
    return messages


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    absent, folder, latin = tmp_path / "absent.yaml", tmp_path / "dir.yaml", tmp_path / "l.yaml"
    folder.mkdir()
    latin.write_bytes("name: x\n# größe\n".encode("latin-1"))
    assert refusals(absent, folder, latin) == [
        f"{absent}: no such file; `sweeper init {absent}` writes one",
        f"{folder}: is a folder; a study is a file of YAML text",
        f"{latin}:2: not UTF-8 text; save the file as UTF-8",
    ]


def test_a_file_that_never_ends_or_has_no_name_to_print(tmp_path: Path) -> None:
    pipe, huge = tmp_path / "pipe.yaml", tmp_path / "huge.yaml"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(10**12)
    unprintable = tmp_path / "two\nlines.yaml", tmp_path / "\udcff.yaml"
    assert refusals(pipe, huge, *unprintable) == [
        f"{pipe}: is no file on a disk; a study is a file of YAML text",
        f"{huge}: is bigger than 1,000,000 bytes, so it is no study file",
        f"'{tmp_path}/two\\nlines.yaml': the name of a study file must be printable; rename it",
        f"'{tmp_path}/\\udcff.yaml': the name of a study file must be printable; rename it",
    ]


def test_after_two_hundred_problems_nobody_reads_on() -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(BASE + "".join(f"k{i}: 1\n" for i in range(1000)), Path("s.yaml"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 201
    assert lines[199].startswith("s.yaml:202: k199: unknown key")
    assert lines[200] == "s.yaml:203: more than 200 problems; mend those above first"


_STORAGE = "must be auto, or a database URL such as postgresql://host/name"
_PROXY = "must name the host and port of `sweeper proxy`: grpc://host:13000"
_TRACKING = (
    "must be auto, http://host:port, or a database such as postgresql://host/name or "
    "sqlite:///mlflow.db"
)
_SQLITE = "must name its file: sqlite:///sweep.db, or sqlite:////folder/sweep.db"
_ESCAPES = "write user and password with %40 for @, %2F for /, %3A for :, %20 for a space"
_DATABASE = f"is no URL of the form postgresql://host:5432/name; {_ESCAPES}"
_SERVER = f"is no URL of the form http://host:5000; {_ESCAPES}"
_PORT = "the port of a URL is a number from 1 to 65535"


@pytest.mark.parametrize(
    ("key", "url", "expected"),
    [
        ("storage", "ann:secret@host", _STORAGE),
        ("storage", "", _STORAGE),
        ("storage", "mysql://ann:secret@host/db", _STORAGE),
        ("storage", "postgresql+asyncpg://ann:secret@host/db", _STORAGE),
        ("storage", "http://ann:secret@host", _STORAGE),
        ("storage", "grpc://host", _PROXY),
        ("storage", "grpc://host:0", _PROXY),
        ("storage", "grpc://host:13000/name", _PROXY),
        ("storage", "grpc://ann:secret@host:13000", _PROXY),
        ("storage", "sqlite://", _SQLITE),
        ("storage", "sqlite:///", _SQLITE),
        ("storage", "sqlite:///:memory:", _SQLITE),
        ("storage", "sqlite://sweep.db", _SQLITE),
        ("storage", "postgresql://ann:sec@ret@host/db", _DATABASE),
        ("storage", "postgresql://ann:sec ret@host/db", _DATABASE),
        ("storage", "postgresql://ann:secret@host:port/db", _DATABASE),
        ("storage", "postgresql://ann:secret@host:0/db", _PORT),
        ("storage", "postgresql://host:70000/db", _PORT),
        ("tracking.uri", "", _TRACKING),
        ("tracking.uri", "localhost:5000", _TRACKING),
        ("tracking.uri", "./mlruns", _TRACKING),
        ("tracking.uri", "file:///mlruns", _TRACKING),
        ("tracking.uri", "ftp://ann:secret@host", _TRACKING),
        ("tracking.uri", "grpc://host:13000", _TRACKING),
        ("tracking.uri", "sqlite://", _SQLITE),
        ("tracking.uri", "mysql://ann:sec@ret@host/db", _DATABASE),
        ("tracking.uri", "http://", _SERVER),
        ("tracking.uri", "http://[::1", _SERVER),
        ("tracking.uri", "http://ann:sec/ret@host", _SERVER),
        ("tracking.uri", "http://ann:12/ret@host", _SERVER),
        ("tracking.uri", "http://ann:secret@ho st", _SERVER),
        ("tracking.uri", "http://host:99999", _SERVER),
    ],
)
def test_a_url_of_the_wrong_form_is_refused_and_not_shown(
    key: str, url: str, expected: str
) -> None:
    text = f"storage: '{url}'" if key == "storage" else f"tracking: {{uri: '{url}'}}"
    assert_refused(BASE + text, f"3: {key}: {expected}")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///sweep.db",
        "sqlite:////var/lib/sweep.db?timeout=60",
        "postgresql:///sweeps",
        "postgresql://host",
        "postgresql://ann:p%40ss%2Fw'ord@host:5432/sweeps?sslmode=require",
        "postgresql+psycopg://ann@[2001:db8::1]:5432/sweeps",
        "postgresql://ann:@/sweeps?host=/run/postgresql",
    ],
)
def test_urls_of_the_right_form(url: str) -> None:
    for key in (f'storage: "{url}"', f'tracking: {{uri: "{url}"}}'):
        spec = parse_study(f"{BASE}{key}", Path("s.yaml"))
        assert url in (spec.storage, spec.tracking.uri)


@pytest.mark.parametrize("url", ["grpc://db.example:13000", "grpc://[::1]:1"])
def test_a_proxy_is_named_with_its_port(url: str) -> None:
    spec = parse_study(f'{BASE}storage: "{url}"', Path("s.yaml"))
    assert (spec.storage, spec.is_proxied) == (url, True)


def test_mlflow_and_optuna_do_not_share_a_database() -> None:
    assert_refused(
        BASE + "storage: postgresql+psycopg://ann:x@host/db\n"
        "tracking: {uri: 'postgresql://bob@host/db'}",
        "4: tracking.uri: is the database of storage as well, where MLflow and Optuna would each "
        "take the other's tables for its own of another version; give it a database of its own",
    )


@pytest.mark.parametrize(
    "uri",
    ["https://ann:p%40ss@mlflow.example:5000/team", "http://[::1]:5000", "mysql+pymysql://h/db"],
)
def test_uris_that_only_mlflow_takes(uri: str) -> None:
    spec = parse_study(f'{BASE}tracking: {{uri: "{uri}"}}', Path("s.yaml"))
    assert spec.tracking.uri == uri


@pytest.mark.parametrize(
    "text",
    [
        "x: 'postgresql://ann:secret@host/db'",
        "x: {y: [1, 'https://host/?token=secret']}",
        "x: {choices: ['ftp://ann:secret@host', b]}",
    ],
)
def test_a_password_among_the_parameters_would_reach_mlflow(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(BASE + f"train: {{function: 'a:b', {text}}}", Path("s.yaml"))
    assert "secret" not in str(caught.value)
    assert "a password here would be written to MLflow and to files" in str(caught.value)


def test_a_file_whose_name_cannot_name_the_study() -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(BASE, Path("my study.yaml"))
    assert str(caught.value) == (
        "my study.yaml:1: name: must be up to 100 letters, digits, '.', '_' or '-', a letter or "
        "digit first, got 'my study'; give the file such a name or set `name:`"
    )


_CHECK = """
import json, sys
from sweeper.cli import main
try:
    main()
except SystemExit as exc:
    heavy = sorted({"torch", "torchvision", "mlflow", "optuna", "numpy"} & sys.modules.keys())
    print(json.dumps([exc.code, heavy]))
"""


def test_checking_a_bad_file_exits_with_2_before_any_slow_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BASE + "train: {epoch: 3}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, "check", str(bad)], capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [2, []]
    assert done.stderr == f"{bad}:3: train.epoch: unknown key; did you mean 'epochs'?\n"
