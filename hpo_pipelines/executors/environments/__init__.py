"""Steps with an environment of their own: the packages, the process or container they run in, and their secrets.

A worker that gets such a step hands it to :class:`.annexes.Annexes`, which

* has the packages installed into a folder, once per machine (:mod:`.overlay`);
* runs the step in a process of its own beside the worker (:mod:`.child`), or in a container (:mod:`.container`), where
  :mod:`.inside` runs the same page of worker code as everywhere;
* passes on what comes out of it, secrets covered (:mod:`.secrets`).
"""
