"""`python -m orrery`: the same as the `orrery` command; for torchrun and moved environments."""

from orrery.cli.main import main

if __name__ == "__main__":
    main()
