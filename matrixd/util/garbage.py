"""When Python looks for garbage cycles.

A server's objects nearly all live for long (modules, caches) or go by reference counting, and going through them again
and again in search of cycles took an eighth of the CPU. So what is there at the start is left out,
and looking is seldom.
"""

import gc

#: New objects (less those that went) until the youngest are looked at; a long answer makes tens of thousands.
_YOUNG = 50_000
#: How often a generation is looked at before the next older one is, too.
_ROUNDS = 10


def pause() -> None:
    """Do not look while the server starts: hardly anything of what that makes goes again."""
    gc.disable()


def settle() -> None:
    """The server has started: what is there stays, and what is made from now on is looked at now and then."""
    gc.freeze()
    gc.set_threshold(_YOUNG, _ROUNDS, _ROUNDS)
    gc.enable()
