"""`python -m commands` is the same as `scoder`."""

from commands import main

if __name__ == "__main__":
    main()
