"""``python -m workshop_utils`` is the ``workshop`` command."""

from workshop_utils.cli import main

if __name__ == "__main__":
    main()
