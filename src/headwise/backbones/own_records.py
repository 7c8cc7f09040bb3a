"""Modules that say themselves what decides their logits, as the mixers of this package do."""

from __future__ import annotations

from dataclasses import replace

from ..contracts import QueryKey
from ..errors import InputError
from . import READERS
from .projections import input_norm, projection_names
from .reading import Place

__all__ = ["read_own_record"]


@READERS.register("own")
def read_own_record(place: Place) -> QueryKey | None:
    """The record that a module's own ``query_key()`` gives, at its place in the model; None for other modules.

    A module whose ``traits`` say that it has no such logits is left alone, unless it has maps for queries and keys,
    from which it would be read as plain attention: then its ``query_key()`` says why not.

    Raises
    ------
    InputError
        What ``query_key()`` refuses, with the module's path.
    """
    module = place.module
    own = getattr(module, "query_key", None)
    if not callable(own):
        return None
    if not getattr(getattr(module, "traits", None), "query_key", True) and projection_names(module) is None:
        return None
    try:
        record: QueryKey = own()
    except InputError as error:
        raise InputError(f"{place.path or type(module).__name__}: {error}") from None
    norm, reads = input_norm(place)
    return replace(record, name=place.path, input_norm=norm, reads=reads)
