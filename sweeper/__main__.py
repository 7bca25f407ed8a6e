"""``python -m sweeper``."""

from sweeper.cli import run_process

if __name__ == "__main__":
    run_process()
