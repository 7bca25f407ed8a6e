"""A hundred trials that do nothing, the whole command: sweeper with tracking, Ray Tune without.

    python benchmarks/empty_trials.py --repeats 3

A run counts only if every trial is found with its one number: those of sweeper in MLflow, those of
Ray Tune in its own files.
"""

import argparse

from contenders import compare, describe_baselines, render_ratios, render_times
from idle_trials import load_study, ray_contender, sweeper_contender
from results import PAGE, describe_machine, render_facts, write_section


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    n_repeats = parser.parse_args().repeats
    study = load_study("empty_trials", n_trials=None)
    facts = describe_machine(f"python benchmarks/empty_trials.py --repeats {n_repeats}")
    facts["Versions of the baselines"] = describe_baselines("Ray Tune")
    rays = [ray_contender(study, is_tracked=False, reuses=reuses) for reuses in (False, True)]
    measured = compare([sweeper_contender(study), *rays], n_repeats=n_repeats)
    body = f"""\
{study["budget"]["trials"]} trials that report one number once, from the start of the command to
its end; sweeper with every trial in MLflow, Ray Tune without MLflow.
**sweeper needs {render_ratios(measured)}** (medians, n = {n_repeats} each, in turns).

{render_times(measured)}

{render_facts(facts)}
"""
    write_section("A hundred empty trials", body)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
