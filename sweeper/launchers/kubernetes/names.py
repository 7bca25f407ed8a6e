"""What Kubernetes lets things be called."""

import re

#: Of a DNS-1123 label, and of a label's value.
MOST_SIGNS = 63
#: Of a DNS-1123 subdomain, which objects without a host name of their own are named by.
_MOST_SUBDOMAIN_SIGNS = 253

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
#: Host, path, tag, digest; only the path is always there. A host has a dot or a port.
_IMAGE = re.compile(
    r"(([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?|[A-Za-z0-9-]+:[0-9]+|localhost)/)?"
    r"[a-z0-9]+(([._-]+|/)[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)


def subdomain_fault(name: str) -> str:
    """Why a Secret, a claim or a priority class cannot be called that, or nothing."""
    if _SUBDOMAIN.fullmatch(name) and len(name) <= _MOST_SUBDOMAIN_SIGNS:
        return ""
    return f"must be lower-case letters, digits, '-' and '.', up to {_MOST_SUBDOMAIN_SIGNS}"


def label_key_fault(key: str) -> str:
    """Why nothing can be labelled by that key, or nothing."""
    prefix, slash, name = key.rpartition("/")
    is_named = name != "" and _VALUE.fullmatch(name) and len(name) <= MOST_SIGNS
    if is_named and not (slash and subdomain_fault(prefix)):
        return ""
    return "a label's key is a name such as 'pool', or 'example.com/pool'"


def label_value_fault(value: str) -> str:
    """Why a label cannot have that value, or nothing."""
    if _VALUE.fullmatch(value) and len(value) <= MOST_SIGNS:
        return ""
    return (
        f"a label's value is up to {MOST_SIGNS} letters, digits, '-', '_' and '.', "
        "a letter or digit first and last"
    )


def image_fault(image: str) -> str:
    """Why that names no image, or nothing."""
    if _IMAGE.fullmatch(image):
        return ""
    return "must name an image, e.g. 'registry.example.com/team/sweeper:1.0'"


def nearest_label(text: str) -> str:
    """A DNS-1123 label that reads like the text; empty if nothing of it can stay."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:MOST_SIGNS].strip("-")


def label_value(text: str) -> str:
    """The text as a label can have it: what it cannot hold is a dash, what is too long is cut."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:MOST_SIGNS].strip("-_.")
