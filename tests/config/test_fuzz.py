"""Whatever a study file holds, ``check`` ends with 0, or with a message and without a traceback.

Exit code 2 is a fault of the file, and then every line of the message begins with file and line;
1 is something that the file names and that cannot be had, or that fails when it is tried.
"""

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torchvision import models

from sweeper import cli
from sweeper.commands.check import precision
from sweeper.config.problems import Problems
from sweeper.config.reader import load_study, parse_study
from sweeper.config.yaml_source import load_source, parse_scalar
from sweeper.errors import SpecError
from sweeper.models.pretrained import find_weights
from sweeper.paths import RunPaths
from tests.support.examples import examples
from tests.support.picture_files import write_pictures
from tests.support.spec_files import STUDIES
from tests.support.sweep_studies import begin, plain_study, reports, run_trial
from tests.support.wav_files import tone, write_wav

CODE = """
import torch

def load(rows=12, **others):
    return (torch.rand(rows, 3), torch.arange(rows) % 2), None

class Rows(torch.utils.data.Dataset):
    targets = [0, 1] * 6

    def __len__(self):
        return 12

    def __getitem__(self, row):
        return torch.rand(3), self.targets[row]

def load_rows():
    return Rows(), None

def double(inputs):
    return 2 * inputs

def build(input_shape, n_outputs, width=2):
    layers = torch.nn.Linear(*input_shape, width), torch.nn.Linear(width, n_outputs)
    return torch.nn.Sequential(*layers)

def adam(groups, lr):
    return torch.optim.Adam(groups, lr=lr)

def falls(step, total_steps):
    return 1 - step / total_steps

def run(params, trial):
    trial.report(1, loss=1.0, size=2.0)
"""

#: What others build on.
BASE = """\
data: {name: digits, batch_size: {choices: [16, 32]}}
model: {architecture: {choices: {mlp: {depth: 1}, bag: }}}
pruner: {name: median, startup_trials: 2}
train: {epochs: 1}
"""

#: Beside numbers and words: a group, a part, and a column of both kinds.
ROWS = "size,kind,who,part,note\n" + "".join(
    f"{row},{'xy'[row % 2]},p{row % 4},{'aabc'[row % 4]},{'?' if row else 'word'}\n"
    for row in range(16)
)
#: Whose weights lie where a download would put them.
PRETRAINED = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where ``check`` runs; its cache of decoded data serves all examples."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "fuzzed_code.py").write_text(CODE)
    (folder / "rows.csv").write_text(ROWS)
    (folder / "base.yaml").write_text(BASE)
    for row in range(8):
        write_wav(folder / "clips" / f"{'xy'[row % 2]}_p{row % 4}_{row}.wav", tone(440, 0.05))
    write_pictures(folder / "pictures", n_each=4)
    weights = folder / "hub/checkpoints" / find_weights(PRETRAINED, "DEFAULT").url.split("/")[-1]
    weights.parent.mkdir(parents=True)
    torch.save(models.get_model(PRETRAINED).state_dict(), weights)
    train = {"learning_rate": {"low": 0.01, "high": 0.1}, "momentum": {"choices": [0.0, 0.1]}}
    earlier = begin(folder, name="earlier", train=train)
    earlier.paths.resolved_spec.write_text(
        yaml.safe_dump(plain_study(name="earlier", train=train))
    )
    run_trial(earlier, reports(0.5))
    cwd, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder))
        patch.setattr(precision, "_TURN_S", 0.0)  # to time updates takes longer than all the rest
        yield folder
    os.chdir(cwd)
    sys.path[:] = path
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Checked:
    """How ``sweeper check study.yaml`` ended, and what it said."""

    code: int
    stdout: str
    stderr: str


def check(content: bytes) -> Checked:
    """``check`` on a file of that content, held to the rule."""
    Path("study.yaml").write_bytes(content)
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    words = sys.argv
    sys.argv = ["sweeper", "check", "study.yaml"]
    try:
        with redirect_stdout(stdout), redirect_stderr(stderr):
            with pytest.raises(SystemExit) as caught:
                cli.main()
            stdout.flush()
    finally:
        sys.argv = words
    done = Checked(
        int(caught.value.code or 0), stdout.buffer.getvalue().decode(), stderr.getvalue()
    )
    assert_ruled(done)
    return done


def assert_ruled(done: Checked) -> None:
    assert done.code in (0, 1, 2), done
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.code == 0) == done.stdout.endswith("ready: sweeper run study.yaml\n"), done
    lines = done.stderr.removesuffix("\n").split("\n")
    if done.code == 1:
        del lines[1:]  # what was tried may take more than one
    if done.code:
        assert all(re.match(r"(study|base)\.yaml:[1-9]\d*: .", line) for line in lines), lines
        assert all(line.isprintable() for line in lines), lines
        numbers = [int(line.split(":")[1]) for line in lines if line.startswith("study.yaml:")]
        assert numbers == sorted(numbers), lines


def on_digits(path: Path) -> str:
    """A study that comes along, on data that need no download."""
    text = path.read_text(encoding="utf-8").replace("name: cifar10, ", "name: digits, size: 16, ")
    return re.sub(r"name: (fashion_)?mnist$", "name: digits", text, flags=re.MULTILINE)


TEXTS = [
    *(
        text
        for text in (on_digits(path) for path in STUDIES if path.parent.name == "studies")
        if " path: " not in text  # which is not here; others follow
    ),
    """\
objective: {metric: [loss, size], direction: [minimize, minimize]}
sampler: {name: nsga2}
data: {name: "fuzzed_code:load", rows: [1, 2], noise: {low: 0.0, high: 1.0}}
train: {function: "fuzzed_code:run", nested: {depth: {choices: {1: {x: 2}, two: }}}}
tracking: {uri: "http://localhost:5000"}
enqueue: [{train.nested.depth: 1, data.noise: 0.5}]
""",
    """\
objective: {metric: loss, direction: minimize}
train: {command: "echo loss=${train.x} ${trial.number} --o ${train.branch.a.y}", args: auto,
        report: {loss: "loss=([0-9.]+)"}, resume: "--resume ${trial.checkpoint}", epochs: 1,
        x: {low: 0, high: 1}, branch: {choices: {a: {y: {low: 1, high: 2}}, b: }}}
""",
    """\
sampler: {name: grid}
data: {name: "fuzzed_code:load", rows: 12}
model: {architecture: "fuzzed_code:build", width: {choices: [2, 4]}}
train: {epochs: 1, l1: {low: 0, high: 1, step: 0.25}}
forbid: [{model.width: 2, train.l1: 0.5}]
storage: sqlite:///sweep.db
run: {workers: 1, device: cpu, lanes: 2, pack: 2}
""",
    """\
data: {name: "fuzzed_code:load_rows", batch_size: 4, validation_transform: "fuzzed_code:double",
       transform: {choices: ["torch.nn:Identity", "fuzzed_code:double"]}}
model: {architecture: mlp, width: 2}
train: {epochs: 2, optimizer: {choices: ["fuzzed_code:adam", sgd]}, accumulate: {low: 1, high: 3},
        schedule: {choices: ["fuzzed_code:falls", onecycle]}, ema: {choices: [0, 0.9]}}
""",
    """\
data: {name: table, path: rows.csv, target: kind, ignore: [note], batch_size: 4,
       validation: {by: who, share: 0.5}, test: {column: part, value: [c]},
       scale: {choices: [standard, quantile]}}
model: {architecture: mlp, width: 2}
train: {epochs: 1}
""",
    """\
objective: {metric: val_rmse}
data: {name: table, path: rows.csv, target: [size], task: regression, ignore: [who, note],
       validation: {column: part, value: b, test: c}}
model: {architecture: mlp, width: 2}
train: {epochs: 1, loss: {choices: [mse, huber]}}
""",
    """\
data: {name: text, path: rows.csv, column: who, target: kind, batch_size: {choices: [4, 8]},
       tokenizer: words, vocabulary: {low: 2, high: 9}, max_length: {choices: [1, 3]},
       validation: {column: part, value: b, test: c}}
model:
  architecture:
    choices:
      bag: {depth: 1}
      rnn: {cell: gru, pool: last, bidirectional: false}
      transformer: {heads: 2, positions: sinusoidal}
  width: 4
  dropout: {low: 0.0, high: 0.5}
train: {epochs: 1}
""",
    """\
data: {name: audio, path: clips, pattern: "{kind}_{who}_{take}.wav", target: kind, batch_size: 4,
       validation: {by: who, share: 0.5}, sample_rate: 8000, max_seconds: 0.04, n_mels: 4}
model: {architecture: cnn, depth: {low: 1, high: 2}, channels: 2}
train: {epochs: 1}
""",
    """\
data: {name: images, path: pictures, size: {choices: [4, 5]}, channels: 1, batch_size: 4,
       pattern: "{kind}/{take}_{number}.png", target: kind, validation: {by: take, share: 0.4}}
model: {architecture: resnet, width: 2, depth: 1}
train: {epochs: 1, random_flip: true, cutout: 2}
""",
    """\
data: {name: digits}
model: {architecture: cnn, depth: 1, channels: 2}
train: {epochs: 1, random_crop: {low: 0, high: 3}, random_flip: {choices: [true, false]},
        cutout: {choices: [0, 3]}, color_jitter: 0.2, mixup: {low: 0.0, high: 1.0}}
""",
    """\
defaults: [base.yaml]
data: {batch_size: 8}
model: {architecture: {choices: [mlp, cnn]}, depth: {low: 1, high: 2}}
train: {learning_rate: {low: 1e-4, high: 1e-1, log: true}}
""",
    f"""\
data: {{name: digits, size: 32, batch_size: 8}}
model: {{architecture: {PRETRAINED}, weights: DEFAULT,
         freeze: {{choices: [none, backbone]}}}}
train: {{epochs: 1, backbone_rate: {{low: 0.01, high: 1.0, log: true}}}}
""",
    """\
data: {name: digits}
model: {architecture: mlp}
train: {epochs: 1, learning_rate: {low: 0.0001, high: 0.5, log: true}, l2: {choices: [0.0, 0.1]}}
warm_start: {from: earlier, rename: {train.momentum: train.l2, val_accuracy: val_accuracy}}
""",
]
#: What YAML files hold and what means something else than it seems, or nothing at all.
ODD = [
    "2026-01-31", "12:30:45", "!!binary aGk=", "!!set {a, b}", "!!python/object:os.system x",
    "!!timestamp 2026-01-31", "!!float 1", "&x", "*x", "&x [*x]", "&x {a: *x}", "<<: *x", "<<",
    "1e400", "-1e400", ".nan", ".inf", "-.inf", "0", "-1", "1e-320", "0.1", "1", "3", "1e12",
    "9" * 18, "9" * 30, "0x" + "f" * 15, "0o" + "7" * 16, "1_000", "true", "on", "~", "null", "",
    "''", '""', r'"\0"', r'"\ud800"', r'"\x1b[31m"', r'"\n"', "\0", "\a", "\x1b", "\x85", "\u2028",
    "\ud800", "\ufeff", "\t", "\r", "\n", " ", "  ", "- ", "? ", ": ", ":", ",", "#", "%", "@",
    "`", "|", ">", "|\n  x", "[", "]", "{", "}", "{}", "[]", "[[]]", "[" * 60, "[" * 3000,
    "- " * 500, "{a: " * 40, "---", "...", "%YAML 1.1\n---", "é", "🙂", "١", "𝔪𝔩𝔭", "a" * 300,
    "x " * 5000, "name: ../../x", "..", "/", "/etc/passwd", "\\", "C:\\x", "a:b", "a.b:c",
    "fuzzed_code:none", "low", "high", "{low: 1, high: 3}", "{low: 0, high: 1, step: 0.1}",
    "{choices: [1, 2]}", "{choices: {mlp: {depth: 3}, cnn: }}", "{choices: {}}",
    "{low: 1, high: 999999999999}", "{low: 1e-300, high: 1e300, log: true}", "mlp", "cnn",
    "digits", "grid", "cmaes", "none", "sqlite:///x.db", "sqlite://", "postgresql://a:b@c/d",
    "mysql://x", "http://[::1", "://", "2h", "val_loss", "train.epochs", "model.architecture",
    "choices", "function", "forbid", "enqueue", "table", "rows.csv", "size", "[who, part]",
    "{by: part}", "{column: part, value: a}", "{path: rows.csv}", "regression", "multilabel",
    "gpus_per_trial: 2", "mlflow: trial", "[base.yaml]", "[study.yaml]", "[.]", "defaults",
    "audio", "clips", "text", "bpe", "images", "pictures", "[4, 5]", "'{kind}_{who}.wav'",
    "command", "metrics", "report", "${train.x}", "${", "'loss=('", "lanes: 3", "pack: 2",
    "warm_start", "earlier", "mlruns/studies/earlier", "{mlflow: earlier}", "{lr: train.l2}",
]  # fmt: skip
PIECES = [re.compile(form) for form in (r".*\n|.+", r"\w+|\W", r"(?s).")]
ENCODINGS = ["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-32"]


@st.composite
def typed_over(draw: st.DrawFn) -> bytes:
    """A valid study with lines, words or signs of it replaced, dropped, doubled or put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        pieces = draw(st.sampled_from(PIECES)).findall(text) or [""]
        at = draw(st.integers(0, len(pieces) - 1))
        odd = draw(st.sampled_from(ODD) | st.text(max_size=3))
        pieces[at] = draw(st.sampled_from(["", odd, pieces[at] * 2, odd + pieces[at]]))
        text = "".join(pieces)
    return text.encode(draw(st.sampled_from(ENCODINGS)), "surrogatepass")


def tree_of(text: str) -> Any:
    top = load_source(text, "study.yaml", Problems())
    assert top is not None
    return top.plain()


LEAVES = (
    st.sampled_from(ODD).map(parse_scalar)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
)
KEYS = st.sampled_from(ODD) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def rebuilt(draw: st.DrawFn) -> bytes:
    """A valid study with one to three of its values, keys or branches replaced."""
    tree = tree_of(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = tree
        while True:
            key = draw(
                st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))
            )
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
                break
            place = place[key]
        if isinstance(place, dict) and draw(st.booleans()):
            place[draw(KEYS)] = place.pop(key)
        else:
            place[key] = draw(VALUES)
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@examples(60)
@given(st.binary() | st.text().map(str.encode) | VALUES.map(yaml.safe_dump).map(str.encode))
def test_no_bytes_are_a_crash(content: bytes) -> None:
    check(content)


@examples(150)
@given(typed_over())
def test_no_slip_of_the_keyboard_is_a_crash(content: bytes) -> None:
    check(content)


@examples(100)
@given(rebuilt())
def test_no_value_in_the_wrong_place_is_a_crash(content: bytes) -> None:
    check(content)


NAMES = [
    "train",
    "l1",
    "model",
    "architecture",
    "mlp",
    "depth",
    "choices",
    "data",
    "name",
    "enqueue",
]
DOTTED = st.lists(st.sampled_from(NAMES) | KEYS, max_size=4).map(".".join)
OVERRIDES = st.lists(
    st.tuples(
        st.sampled_from(["", "~"]), DOTTED, st.sampled_from(["=", ""]), st.sampled_from(ODD)
    ).map("".join)
    | st.text(max_size=5),
    max_size=3,
)


@examples(200)
@given(st.sampled_from(TEXTS), OVERRIDES)
def test_no_override_is_a_crash(text: str, overrides: list[str]) -> None:
    Path("study.yaml").write_text(text)
    try:
        load_study(Path("study.yaml"), overrides)
    except SpecError as exc:
        lines = str(exc).split("\n")
        assert all(re.match(r"(study\.yaml:[1-9]\d*|command line): .", line) for line in lines), (
            lines
        )
        assert all(line.isprintable() for line in lines), lines


@examples(100)
@given(
    st.text(st.sampled_from("./\\~$ ab\u2024\u2215\uff0f:*\n"), max_size=6) | st.sampled_from(ODD)
)
def test_no_name_leads_out_of_the_folder_of_studies(name: str) -> None:
    text = json.dumps({"name": name, "data": {"name": "digits"}, "model": {"architecture": "mlp"}})
    studies = (Path("mlruns") / "studies").resolve()
    with suppress(SpecError):
        spec = parse_study(text, Path("named.yaml"))
        assert RunPaths(Path("mlruns"), spec.name).study_dir.resolve().parent == studies


@pytest.mark.parametrize("text", TEXTS)
def test_the_studies_that_are_typed_over_are_valid(text: str) -> None:
    assert check(text.encode()).code == 0
