"""How much hypothesis tries."""

from hypothesis import settings


def examples(n: int) -> settings:
    """``n`` examples in the full set; as many more or less as the profile has it."""
    share = settings.default.max_examples / settings.get_profile("full").max_examples
    return settings(max_examples=int(n * share))
