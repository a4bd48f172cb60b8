"""Entry point of `rdrop` and of `python -m rdrop_cli`."""

from rdrop_cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="rdrop")


if __name__ == "__main__":
    main()
