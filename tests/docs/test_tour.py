"""The tour is a notebook: it runs as it stands, and its stored outputs are whole."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).parents[2] / "docs/site/tour.ipynb"


@pytest.fixture
def tour():
    return nbformat.read(TOUR, as_version=4)


def cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """What a cell gives: streams and pictures, without what they say."""
    return [(o.output_type, *sorted(o.get("data", {}))) for o in cell.outputs]


def test_the_tour_is_stored_with_its_outputs(tour):
    nbformat.validate(tour)
    assert [cell.execution_count for cell in cells(tour)] == [*range(1, len(cells(tour)) + 1)]
    assert all(cell.outputs for cell in cells(tour))
    for output in (output for cell in cells(tour) for output in cell.outputs):
        assert output.get("name") != "stderr" and output.output_type != "error"
    assert str(Path.home()) not in TOUR.read_text(), "where it ran"


# Kernels speak over the network's loopback, whose libraries warn of what they will change.
@pytest.mark.filterwarnings("default")
@pytest.mark.sweep
def test_the_tour_runs_as_it_stands(tour, tmp_path):
    stored = [kinds(cell) for cell in cells(tour)]
    client = NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert [kinds(cell) for cell in cells(tour)] == stored
    assert "robust accuracy, PGD-5 8/255" in cells(tour)[-3].outputs[0].text
