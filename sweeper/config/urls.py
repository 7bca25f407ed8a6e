"""``storage``, ``tracking.uri`` and ``run.object_store``: the form of a URL.

No message shows one, for its password.
"""

import re
from importlib.metadata import entry_points
from urllib.parse import urlsplit

_STORAGE = "must be auto, or a database URL such as postgresql://host/name"
_PROXY = "must name the host and port of `sweeper proxy`: grpc://host:13000, or grpcs:// with TLS"
_TRACKING = (
    "must be auto, http://host:port, or a database such as postgresql://host/name or "
    "sqlite:///mlflow.db"
)
_SQLITE = "must name its file: sqlite:///sweep.db, or sqlite:////folder/sweep.db"
_OBJECT_STORE = (
    "must be the URL of a place that all nodes reach: s3://bucket/prefix, or file:///folder"
)
#: Not as one URL: a message that shows a password is blackened.
_ESCAPES = "write user and password with %40 for @, %2F for /, %3A for :, %20 for a space"
#: The dialects in which claims and leases were tried; None is SQLAlchemy's own choice.
_DRIVERS = {"sqlite": (None, "pysqlite"), "postgresql": (None, "psycopg", "psycopg2")}
#: What MLflow keeps runs in; the drivers are checked when they are needed.
_MLFLOW_DATABASES = ("mysql", "mssql")

_SCHEME = re.compile(r"(?P<dialect>[a-zA-Z][\w.-]*)(\+(?P<driver>\w+))?://(?P<rest>.*)", re.DOTALL)
_DATABASE = re.compile(
    r"([^@/?:]*(:[^@]*)?@)?(\[[0-9a-fA-F:.]+\]|[^@/?:\[\]]*)(:(?P<port>[0-9]{1,5}))?(/[^@?]*)?(\?.*)?"
)
_PROXIED = re.compile(r"grpcs?://([^\s@/?#:\[\]]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")
_PASSWORD = re.compile(
    r"://[^\s/@:]*:(?!\d+/)[^\s@]+@|[?&](ssl)?(password|passwd|token|secret|api_?key)=", re.I
)


def storage_fault(url: str) -> str:
    """Why Optuna cannot keep a study there, or nothing."""
    if url == "auto":
        return ""
    if url.startswith(("grpc:", "grpcs:")):
        found = _PROXIED.fullmatch(url)
        is_port = found is not None and 0 < int(found["port"]) < 2**16
        return "" if is_port else _PROXY
    return _either_fault(url, _STORAGE)


def tracking_fault(uri: str) -> str:
    """Why MLflow cannot keep its runs there, or nothing."""
    if uri in ("auto", "databricks"):
        return ""
    if uri.startswith(("http://", "https://")):
        return _server_fault(uri)
    found = _SCHEME.fullmatch(uri)
    if found and found["dialect"] in _MLFLOW_DATABASES:
        return _database_fault(found["rest"])
    # Packages such as those of cloud providers bring MLflow schemes of their own.
    others = ("databricks", *(point.name for point in entry_points(group="mlflow.tracking_store")))
    if uri.partition(":")[0] in others:
        return ""
    return _either_fault(uri, _TRACKING)


def object_store_fault(url: str) -> str:
    """Why trials' files cannot be left there, or nothing."""
    found = re.fullmatch(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^\s/?#]*)(/[^\s?#]*)?", url)
    if found is None or (found["scheme"] == "file" and found["host"]):
        return _OBJECT_STORE
    if "@" in found["host"]:
        return (
            "must hold no user and no password; the environment gives the driver its credentials"
        )
    if found["scheme"] == "memory":
        return "memory:// is the memory of one process, which no other node reaches"
    return "" if found["host"] or found["scheme"] == "file" else _OBJECT_STORE


def is_one_database(storage: str, uri: str) -> bool:
    """Whether two URLs name the same database, whoever asks, and through whichever driver."""
    first, second = (_SCHEME.fullmatch(url) for url in (storage, uri))
    if first is None or second is None or first["dialect"] != second["dialect"]:
        return False
    return first["rest"].rpartition("@")[2] == second["rest"].rpartition("@")[2]


def holds_password(text: str) -> bool:
    """Whether a text is, or holds, a URL with a password in it."""
    return _PASSWORD.search(text) is not None


def _either_fault(url: str, expected: str) -> str:
    """Why it names no database that takes both studies and runs, or nothing."""
    found = _SCHEME.fullmatch(url)
    if found is None or found["driver"] not in _DRIVERS.get(found["dialect"], ()):
        return expected
    is_file = found["dialect"] == "sqlite"
    return _sqlite_fault(found["rest"]) if is_file else _database_fault(found["rest"])


def _sqlite_fault(rest: str) -> str:
    path = rest.partition("?")[0]
    return "" if len(path) > 1 and path[0] == "/" and path != "/:memory:" else _SQLITE


def _database_fault(rest: str) -> str:
    found = _DATABASE.fullmatch(rest)
    if re.search(r"\s", rest) or found is None:
        return f"is no URL of the form postgresql://host:5432/name; {_ESCAPES}"
    is_port = 0 < int(found["port"] or 1) < 2**16
    return "" if is_port else "the port of a URL is a number from 1 to 65535"


def _server_fault(uri: str) -> str:
    try:
        place = urlsplit(uri)
        is_whole = bool(place.hostname) and place.port != 0
    except ValueError:  # the port, or the brackets of an address
        is_whole = False
    if not is_whole or re.search(r"\s", uri) or "@" in place.path + place.query + place.fragment:
        return f"is no URL of the form http://host:5000; {_ESCAPES}"
    return ""
