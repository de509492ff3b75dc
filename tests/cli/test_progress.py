"""What long work says of itself where there is no terminal."""

import threading

import pytest

from cfamc_zoo import progress
from cfamc_zoo.cli import output
from cfamc_zoo.pace import Pace, in_words


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_line_has_rate_and_time_left_from_the_first_news_on():
    clock = Clock()
    pace = Pace("attack", 1000, clock)
    clock.now += 40
    assert pace.line() == "attack: 40 s so far"
    pace.advance(400)  # read from a state: that is no rate
    assert pace.line() == "attack: 400 of 1,000, 40 s so far"
    clock.now += 10
    pace.advance(50, "34.1%")
    assert pace.line() == "attack: 450 of 1,000, 5/s, 2 min left, 34.1%"
    clock.now += 1000
    assert pace.line().startswith("attack: 450 of 1,000, 0.05/s, 3 h 5 min left")
    pace = Pace("fitting", None, clock)
    pace.advance(1)
    clock.now += 2
    pace.advance(6000)
    assert pace.line() == "fitting: 6,001, 3,000/s, 2 s so far"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (7200, "2 h")],
)
def test_times_are_words(seconds, words):
    assert in_words(seconds) == words


@pytest.fixture
def lines(monkeypatch):
    """Waits until a line was written, and gives all of them."""
    said, written = [], threading.Event()

    def note(text):
        said.append(text)
        written.set()

    monkeypatch.setattr(output, "note", note)
    monkeypatch.setattr(progress, "PAUSE", 0.01)

    def wait():
        written.clear()
        assert written.wait(60)
        return said

    return wait


def test_lines_come_though_nothing_is_told_and_end_with_the_work(lines):
    with output.progress("fitting", None) as bar:
        assert lines()[0].startswith("fitting: 0 s")
        bar.total(7)
        bar.advance(3, "loss 2")
        lines()
        assert any("3 of 7" in line and "loss 2" in line for line in lines())
    count = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        stopped(lines)
    assert threading.active_count() == count, "nobody writes on"


def stopped(wait):
    with output.progress("stopped", 1):
        wait()
        raise KeyboardInterrupt


def test_short_work_and_other_ranks_say_nothing(monkeypatch, capsys):
    with output.progress("quick", 3) as bar:
        bar.advance(3)
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    monkeypatch.setenv("RANK", "1")
    with output.progress("elsewhere", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr() == ("", "")


def test_commands_say_how_far_they_are(lines, tiny_release, monkeypatch, tmp_path):
    """Held until a line is there: no command is quick or slow enough by itself."""
    from cfamc_zoo.cli import app
    from cfamc_zoo.evaluation.classifier_measurement import ClassifierMeasurement
    from cfamc_zoo.export import release
    from cfamc_zoo.zoo.release.folder import open_release

    def held(function):
        def call(*given, **named):
            result = function(*given, **named)
            lines()
            return result

        return call

    monkeypatch.setattr(ClassifierMeasurement, "run", held(ClassifierMeasurement.run))
    assert app.run(["attack", "-m", str(tiny_release), "--limit", "3", "--steps", "1"]) == 0
    assert any(line.startswith("PGD-1 on cifar10-sample: ") for line in lines_of(lines))
    export_release = held(lambda *_, **named: open_release(tiny_release))
    monkeypatch.setattr(release, "export_release", export_release)
    assert app.run(["export", str(tiny_release), "-o", str(tmp_path / "new")]) == 0
    assert any(line.startswith("writing and checking new: ") for line in lines_of(lines))


def lines_of(wait):
    with output.progress("one more", None):
        return list(wait())
