"""``python -m tapeflow`` is the ``tapeflow`` command."""

from tapeflow.cli.main import main

main()
