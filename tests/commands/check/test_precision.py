"""Another precision is proposed where it is clearly faster."""

from sweeper.commands.check.precision import Timed, propose_precision


def test_a_precision_is_proposed_if_all_architectures_together_are_clearly_faster() -> None:
    mlp: Timed = {"fp32": [1e-3] * 3, "bf16": [2e-3] * 3}
    # 1 + 13 ms beside 2 + 8 ms is 1.4 x, 1 + 10 ms beside 2 + 8 ms is 1.1 x.
    slow: Timed = {"fp32": [13e-3] * 3, "bf16": [8e-3] * 3}
    assert propose_precision("fp32", [mlp, slow], "cpu") == (
        "proposed: `run: {precision: bf16}`, measured 1.4 x as fast as fp32; it rounds "
        "differently, so it is never taken by itself"
    )
    near: Timed = {"fp32": [10e-3] * 3, "bf16": [8e-3] * 3}
    assert propose_precision("fp32", [mlp, near], "cpu") == ""
    assert propose_precision("fp32", [mlp], "cpu") == ""
    assert propose_precision("bf16", [mlp], "cpu").startswith("proposed: `run: {precision: fp32}`")
    alone: Timed = {"fp32": [1.0] * 3}  # not every model can take another
    assert propose_precision("fp32", [mlp, alone], "cpu") == ""
    assert propose_precision("fp32", [], "cpu") == ""


def test_no_precision_is_proposed_that_was_faster_in_some_turns_alone() -> None:
    on_a_busy_machine: Timed = {"fp32": [40e-3, 2e-3, 41e-3], "bf16": [2e-3, 2e-3, 2e-3]}
    assert propose_precision("fp32", [on_a_busy_machine], "cuda") == ""
    slowed_alike: Timed = {"fp32": [40e-3, 4e-3, 41e-3], "bf16": [20e-3, 2e-3, 21e-3]}
    assert "measured 2.0 x as fast" in propose_precision("fp32", [slowed_alike], "cuda")


def test_no_precision_is_proposed_for_updates_that_a_cpu_hardly_computes_in() -> None:
    tiny: Timed = {"fp32": [19e-5] * 3, "bf16": [1e-5] * 3}
    assert propose_precision("fp32", [tiny], "cpu") == ""
    assert "measured 19.0 x as fast" in propose_precision("fp32", [tiny], "cuda:1")
