"""The `jc1` command, also as `python -m jc1`: from its first moment on Ctrl-C ends it quietly."""

from jc1 import interrupts


def main() -> None:
    """Import the command line, and run it."""
    try:
        with interrupts.at_once():
            from jc1.cli.main import main as run
        run()
    except KeyboardInterrupt:
        interrupts.end()


if __name__ == "__main__":
    main()
