"""Where steps execute: one narrow port (:mod:`.base`), three executors, one page of worker code they all run."""
