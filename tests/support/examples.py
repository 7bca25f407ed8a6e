"""How much hypothesis tries."""

from hypothesis import settings

#: Of the profile in which a test tries as many as it names.
FULL = 100


def examples(n: int) -> settings:
    """``n`` examples in the full set; as many more or less as the profile has it."""
    profile = settings.default
    assert profile is not None, "conftest.py loads one"
    return settings(max_examples=n * profile.max_examples // FULL)
