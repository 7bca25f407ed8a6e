"""One trial as tensors: learner, loop, optimiser. Knows neither Optuna nor MLflow."""
