"""`python -m agex` is the command `agex`."""

from agex.cli import main

main()
