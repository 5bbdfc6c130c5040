"""``python -m brain`` is ``brain``; ``torchrun -m brain train`` starts it as several processes."""

from brain.cli import main

if __name__ == "__main__":
    main()
