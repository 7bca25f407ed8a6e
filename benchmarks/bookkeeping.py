"""A thousand trials of one second on sixteen workers, all in MLflow: sweeper beside Ray Tune.

    python benchmarks/bookkeeping.py --repeats 3

It is Ray Tune's own bookkeeping scenario, which reuses processes, a tenth of its length, with
tracking. A run counts only if every trial is in MLflow with its one number.
"""

import argparse
from statistics import median

from contenders import compare, describe_baselines, render_ratios, render_times
from idle_trials import load_study, ray_contender, sweeper_contender
from results import PAGE, describe_machine, render_facts, render_table, write_section


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    parser.add_argument("--trials", type=int, default=1000, help="fewer for a quick look")
    arguments = parser.parse_args()
    n_trials, n_repeats = arguments.trials, arguments.repeats
    study = load_study("bookkeeping", n_trials=n_trials)
    command = f"python benchmarks/bookkeeping.py --repeats {n_repeats} --trials {n_trials}"
    facts = describe_machine(command)
    facts["Versions of the baselines"] = describe_baselines("Ray Tune")
    measured = compare(
        [sweeper_contender(study), ray_contender(study, is_tracked=True, reuses=True)],
        n_repeats=n_repeats,
    )
    n_workers, seconds = study["run"]["workers"], study["train"]["seconds"]
    floor_s = n_trials * seconds / n_workers
    over = [
        [name, f"{median(run.seconds for run in runs) - floor_s:.1f}"]
        for name, runs in measured.items()
    ]
    body = f"""\
{n_trials} trials that wait {seconds:g} s and report one number, on {n_workers} workers, each a
finished run in MLflow. Waiting alone takes {floor_s:.1f} s.
**sweeper needs {render_ratios(measured)}** (medians, n = {n_repeats} each, in turns).

{render_times(measured)}

{render_table(["over the waiting", "median, s"], over)}

{render_facts(facts)}
"""
    write_section("A thousand trials of one second", body)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
