"""The hosts: how the requests of ``core.host`` reach a machine.

``primitives`` is the one file that touches a machine; ``local`` calls it in threads of this
process. ``answers`` turns what it gives back into values and errors, ``digests`` remembers
the hashes of files, and ``processes`` finds commands that outlived the run that started them.
"""
