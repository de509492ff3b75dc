"""What training minimizes: one file an objective, and here the table of them.

`objective.py` says what an objective is. May import torch alone.
"""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING

from cfamc_zoo.training.objectives.objective import Objective as Base

TABLE = {  # files to the class in each
    "emp": "Emp",
    "nt_xent": "NtXent",
    "dcl": "Dcl",
    "dclw": "Dclw",
    "vicreg": "VicReg",
    "robustify": "Robustify",
    "deacl": "DeAcl",
    "profeat": "ProFeat",
}
KINDS: tuple[type[Base], ...] = tuple(
    getattr(import_module(f"{__name__}.{file}"), name) for file, name in TABLE.items()
)
if TYPE_CHECKING:
    Objective = Base
else:
    Objective = reduce(or_, KINDS)  # what a recipe reads: told apart by `kind`
