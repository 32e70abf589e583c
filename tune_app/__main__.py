"""python -m tune_app."""

from tune_app.cli import main

main()
