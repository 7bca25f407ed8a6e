"""What built-in training measures, and what it may minimise, by the task."""

from collections.abc import Collection, Mapping

from sweeper.trial import Direction, Task

#: Reported of every task, each epoch.
LOSSES = ("train_loss", "val_loss")
#: Beside them, what a task measures on the validation rows, with what is better; ``val_top5`` of
#: more than ten classes, ``val_auroc`` of two. The first is the objective where a file names none.
TASK_METRICS: Mapping[Task, Mapping[str, Direction]] = {
    "classification": {
        "val_accuracy": "maximize",
        "val_top5": "maximize",
        "val_f1": "maximize",
        "val_auroc": "maximize",
    },
    "multilabel": {"val_f1": "maximize", "val_auroc": "maximize"},
    "regression": {"val_rmse": "minimize", "val_mae": "minimize", "val_r2": "maximize"},
}
#: What each task may minimise, by default the first.
TASK_LOSSES: Mapping[Task, tuple[str, ...]] = {
    "classification": ("cross_entropy",),
    "multilabel": ("bce",),
    "regression": ("mse", "mae", "huber"),
}
_OF_TASKS = {name: way for found in TASK_METRICS.values() for name, way in found.items()}
#: All of them, in the order in which tables show them.
METRICS = (*LOSSES, *_OF_TASKS, "learning_rate", "epoch_seconds")
#: What is better, of those that tell.
DIRECTIONS: Mapping[str, Direction] = {
    **dict.fromkeys((*LOSSES, "epoch_seconds"), "minimize"),
    **_OF_TASKS,
}


def metrics_but_of(tasks: Collection[Task]) -> frozenset[str]:
    """What other tasks measure, and none of these."""
    return frozenset(_OF_TASKS).difference(*(TASK_METRICS[task] for task in tasks))
