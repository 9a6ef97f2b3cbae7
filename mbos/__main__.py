"""``python -m mbos`` is ``mbos``."""
from .cli import main

if __name__ == '__main__':
    main()
