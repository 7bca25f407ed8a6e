"""The mirror: event logs -> MLflow, in batches, at least once, idempotent.

Importing this package loads no mlflow; it only sets how mlflow behaves once it is loaded, which
must come first. What the user has set in the environment stands.
"""

import os

_MLFLOW_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
#: The event log is our buffer, so we come back later, and look first what was done already.
#: MLflow's own 7 retries last minutes and may create a run twice.
_OF_THE_MIRROR = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

#: Those that processes of user code, which has no such buffer, must not inherit.
NOT_FOR_OTHERS = frozenset(name for name in _OF_THE_MIRROR if name not in os.environ)

for _name, _value in {**_MLFLOW_ENVIRONMENT, **_OF_THE_MIRROR}.items():
    os.environ.setdefault(_name, _value)
