"""The bound on what is decoded at a time."""

import threading

import pytest

from cfamc_zoo.zoo.images.room import Room


def entered(room, pixels):
    """Takes room in a thread; gives the thread, whether it is in, and what lets it go."""
    inside, go = threading.Event(), threading.Event()

    def work():
        with room.taken(pixels):
            inside.set()
            go.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, inside, go


def test_images_wait_for_room_and_get_it():
    room = Room(100)
    first, second = entered(room, 60), entered(room, 40)
    assert first[1].wait(10) and second[1].wait(10)
    third = entered(room, 41)
    assert not third[1].wait(0.05)
    second[2].set()
    second[0].join(10)
    assert not third[1].wait(0.05)  # 60 and 41 are too many
    first[2].set()
    assert third[1].wait(10)
    third[2].set()
    for thread, *_ in (first, third):
        thread.join(10)
        assert not thread.is_alive()


def test_an_image_larger_than_all_the_room_is_let_in_alone():
    room = Room(100)
    with room.taken(1000):
        small = entered(room, 1)
        assert not small[1].wait(0.05)
    assert small[1].wait(10)
    large = entered(room, 1000)
    assert not large[1].wait(0.05)
    small[2].set()
    assert large[1].wait(10)
    large[2].set()
    large[0].join(10)


def test_an_error_gives_the_room_back():
    room = Room(100)
    with pytest.raises(ValueError, match="damaged"), room.taken(100):
        raise ValueError("damaged")
    with room.taken(100):
        pass
