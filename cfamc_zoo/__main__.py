"""`python -m cfamc_zoo`, the same as `cfamc-zoo`."""

from cfamc_zoo.cli.app import main

main()
