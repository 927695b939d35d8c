"""`python -m taskdistill`: the command line."""

from taskdistill.flows.entry import main

if __name__ == "__main__":
    main()
