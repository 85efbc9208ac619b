"""`python -m jc1` is the `jc1` command."""

from jc1.cli.main import main

main()
