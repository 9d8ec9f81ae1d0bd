"""Making chains of recorded tasks, in Python (:class:`Assembly`) and from files (:func:`load_chain`)."""

from hpo_pipelines.assembly.blocks import Block, block_of
from hpo_pipelines.assembly.building import Assembly
from hpo_pipelines.assembly.file import SUFFIXES, is_chain_file, load_chain

__all__ = ["SUFFIXES", "Assembly", "Block", "block_of", "is_chain_file", "load_chain"]
