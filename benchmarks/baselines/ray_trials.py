"""Ray Tune trials that wait and report one number once, with or without its MLflow callback.

Its MLflow store is ``mlflow.db`` in the working directory, its own results are in ``ray_results``.
"""

import argparse
import os
import time

import ray
from ray import tune


def trial(config):
    """Wait, then report the number that was drawn."""
    time.sleep(config["seconds"])
    tune.report({"score": config["x"]})


def build_callbacks(experiment):
    """The MLflow callback, if there is an experiment for it."""
    if experiment is None:
        return []
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    tracking_uri = f"sqlite:///{os.path.abspath('mlflow.db')}"
    return [MLflowLoggerCallback(tracking_uri=tracking_uri, experiment_name=experiment)]


def main():
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="each trial waits so long")
    parser.add_argument("--workers", type=int, help="trials at once; default one a core")
    parser.add_argument("--experiment", help="in MLflow; default no MLflow")
    parser.add_argument(
        "--reuse", action="store_true", help="processes, for one trial after another"
    )
    arguments = parser.parse_args()

    ray.init(num_cpus=arguments.workers)
    tuner = tune.Tuner(
        trial,
        param_space={"x": tune.uniform(0.0, 1.0), "seconds": arguments.seconds},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=arguments.trials,
            reuse_actors=arguments.reuse,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=os.path.abspath("ray_results"),
            callbacks=build_callbacks(arguments.experiment),
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    print(results.get_best_result().config)


if __name__ == "__main__":
    main()
