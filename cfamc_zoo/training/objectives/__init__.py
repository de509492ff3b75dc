"""What training minimizes: one file an objective, and here the table of them.

An objective is frozen settings with `kind`, its name in a recipe; `views`, the number of views
that it takes (None: any from 2 up); `clean_views`, how many of them no adversary touches; and
`loss(z)`, from (V, B, D) float32 projections of unit norm to the loss and its parts by name.
May import torch alone.
"""

from cfamc_zoo.training.objectives.emp import Emp
from cfamc_zoo.training.objectives.nt_xent import NtXent

Objective = Emp | NtXent
