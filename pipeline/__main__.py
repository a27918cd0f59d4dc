"""`python -m pipeline COMMAND ...` is the console command `vireid COMMAND ...`."""

from pipeline.cli.console import main

if __name__ == "__main__":
    main()
