"""``python -m sweeper``."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, where a file may be called like one of Python's
    from sweeper.cli import run_process

    run_process()
