"""The identity of values: one digest per value, the same in every process, host and hash seed.

The digest is the BLAKE3 of a type-tagged, length-prefixed encoding. What has one identity, and what differs:

===============================  ==========================================================================
value                            identity
===============================  ==========================================================================
``None``, ``...``                themselves
``bool``, ``int``, ``float``,    type and value: ``True``, ``1``, ``1.0`` and ``"1"`` are four identities;
``complex``, ``str``             ``0.0`` and ``-0.0`` are two; every ``nan`` is one
``bytes``, ``bytearray``         type and content
``list``, ``tuple``              type and items in order (a list is not a tuple)
``dict``, ``Counter``,           type and items, *whatever their order* (as ``==`` has it; a component whose result
``defaultdict``                  depends on the order of a dict should take a list); a ``defaultdict``'s factory counts
``OrderedDict``                  type and items in order
``set``, ``frozenset``           type and items
``deque``, ``range``, ``slice``  type, items or bounds, ``maxlen``
``Enum``                         class and name (the value, for a flag without a name)
dataclass                        class and every field, those with ``compare=False`` included
named tuple                      class and items
``date``, ``time``               type and fields
``datetime``                     wall time, ``fold``, UTC offset and zone name: an instant in two zones has two
``timedelta``                    exact value
``Decimal``                      sign, digits and exponent (``1.0`` is not ``1.00``)
``Fraction``, ``UUID``           type and value
``Path``, ``PurePath``           flavour and text, *not* what the file holds (a stored output that is a path is
                                 identified by content: see :mod:`hpo_pipelines.artifacts`)
``re.Pattern``                   pattern and flags
numpy scalar                     dtype and value, so that ``np.float64(1)``, ``np.float32(1)`` and ``1.0`` differ (they
                                 compute differently); every ``nan`` of a dtype is one
``ndarray``, ``np.memmap``       dtype, shape and content in C order, whatever the strides and the byte order; floats by
                                 their bits; object arrays item by item
``np.dtype``                     its fields, kinds, sizes and byte order
pandas scalar                    type, value, unit and zone; ``NaT`` and ``NA`` themselves
``Index``, ``Series``,           labels, names, dtypes, values, ``attrs`` and ``freq``, whatever the layout in memory:
``DataFrame``, pandas array      blocks, strides, chunks, offsets, unused levels of a MultiIndex do not count;
                                 object columns item by item
===============================  ==========================================================================

A class is identified by its module and qualified name: what its methods do is the business of the code part of a key.
Subclasses of the above that are none of the above, and everything else, raise :class:`NotCanonical`.
"""

from __future__ import annotations

from functools import lru_cache

from blake3 import blake3

from hpo_pipelines.canonical.containers import CONTAINERS
from hpo_pipelines.canonical.encoder import BufferDigest, Encoder, NotCanonical, Writer, hash_buffer, type_name
from hpo_pipelines.canonical.leaves import LEAVES
from hpo_pipelines.canonical.objects import object_writer

__all__ = ["NotCanonical", "hash_buffer", "type_name", "value_digest"]


def value_digest(value: object, *, buffer_digest: BufferDigest = hash_buffer) -> str:
    """The identity of ``value`` as 64 hexadecimal digits; the table above says what counts.

    ``buffer_digest`` is asked for the digest of each buffer of 64 KiB or more that is part of ``value`` itself (never
    of a temporary copy), so that a caller who also needs those digests hashes the bytes once.

    Raises NotCanonical, naming where in ``value`` the culprit sits.
    """
    leaf = LEAVES.get(type(value))
    if leaf is not None:
        digest: str = blake3(leaf(value)).hexdigest()
        return digest
    encoder = Encoder(buffer_digest, _writer_of)
    try:
        encoder.write(value)
    except RecursionError:
        name = type_name(type(value))
        raise NotCanonical("", name, "it contains itself, or is nested too deep") from None
    return encoder.hexdigest()


@lru_cache(maxsize=512)
def _writer_of(cls: type) -> Writer:
    """How values of a class are written that are not encoded in one piece."""
    own = CONTAINERS.get(cls) or object_writer(cls)
    if own is not None:
        return own
    library = cls.__module__.partition(".")[0]
    # The value's own library is imported already, so this costs a start-up nothing.
    if library == "numpy":
        from hpo_pipelines.canonical.arrays import array_writer

        return array_writer(cls) or _refuse
    if library == "pandas":
        from hpo_pipelines.canonical.frames import frame_writer

        return frame_writer(cls) or _refuse
    return _refuse


def _refuse(encoder: Encoder, value: object) -> None:
    cls = type(value)
    known = next((base.__name__ for base in cls.__mro__[1:] if base in CONTAINERS or base in LEAVES), None)
    if known is not None:
        why = f"a subclass of {known} may hold more; use a plain {known}"
    else:
        why = "use plain values, arrays, frames, or dataclasses of them"
    raise NotCanonical("", type_name(cls), why)
