"""``python -m unlearn_pl`` is ``unlearn-pl``."""

from unlearn_pl.cli import main

if __name__ == "__main__":
    main()
