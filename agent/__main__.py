"""`python -m agent` is `tutelage`."""

from agent.cli import main

if __name__ == "__main__":
    main(prog_name="tutelage")
